"""AWS Secrets Manager, through boto3.

At most four calls for one answer: the SDK waits longer and longer between them, as its "standard" retry mode does (AWS
SDKs and Tools Reference Guide, "Retry behavior"). `GetSecretValue` and `BatchGetSecretValue`: AWS Secrets Manager API
Reference. An identity needs `secretsmanager:GetSecretValue` on each secret, `secretsmanager:BatchGetSecretValue` on
`*` (without it each secret is asked for by itself), and `kms:Decrypt` on a key of its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from tegata_credentials.errors import SecretError, SecretMalformed, SecretUnavailable
from tegata_credentials.signing_logs import unlogged
from tegata_credentials.sources.aws_answers import (
    explain,
    explain_code,
    finds_batch_invalid,
    is_about_credentials,
    refuses_batch,
)
from tegata_credentials.sources.one_by_one import Outcome, attempt, or_raise
from tegata_credentials.sources.plain_text import check_text, decode
from tegata_credentials.versions import CURRENT, SecretVersion

CALLS = 4
"""The first call and three retries."""
CHUNK = 20
"""How many secrets one `BatchGetSecretValue` may name."""
BATCH_PAUSE_SECONDS = 900.0
"""After a batch was not allowed, single calls are made for so long: the rights may change meanwhile."""

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Slot:
    """The client of one process: a forked one must not share its locks and connections."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    client: Any = None
    no_batch_until: float = 0.0


class _Sent(threading.local):
    """How many requests each thread has sent. The SDK works in the thread that calls it, so no lock is needed."""

    requests = 0


_sent = _Sent()


def _listen(client: Any) -> None:
    """Count what this client sends, each retry too (botocore's event `before-send`); once, whoever uses it."""
    client.meta.events.register("before-send.secrets-manager", _count, unique_id=__name__)


def _count(**_request: Any) -> None:
    _sent.requests += 1


@dataclass(slots=True)
class _Batch:
    values: list[Mapping[str, Any]] = field(default_factory=list, repr=False)
    errors: list[Mapping[str, Any]] = field(default_factory=list, repr=False)
    is_refused: bool = False


class AwsSecretsManager:
    """Reads secrets by name or ARN. Nothing of AWS is loaded before the first one is read.

    `session` is a `boto3.Session`; without one the usual places are searched for credentials, and searched again after
    they were refused. `client` is a client of your own, used as it is: it is neither made anew in a forked process nor
    closed. Without `region`, AWS_REGION says it, or what boto3 finds. An answer takes at most about
    `CALLS * (connect_timeout + read_timeout)` seconds and the waits between the calls.

    Example:

        source = AwsSecretsManager(region="eu-west-1")
        source.fetch("shop-prod-secret-database").version
        source.fetch_many(["shop-prod-secret-database", "shop-prod-secret-jwt"])    # one call

    >>> AwsSecretsManager(region="eu-west-1")
    AwsSecretsManager(region='eu-west-1')
    """

    scheme = "awssm"

    def __init__(
        self,
        client: Any = None,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        session: Any = None,
        connect_timeout: float = 2.0,
        read_timeout: float = 5.0,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = client
        self._region = region
        self._endpoint_url = endpoint_url
        self._session = session
        self._timeouts = {"connect_timeout": connect_timeout, "read_timeout": read_timeout}
        self._ticks = ticks
        self._slots: dict[int, _Slot] = {}
        if client is not None:
            _listen(client)

    def __repr__(self) -> str:
        shown = {"region": self._region, "endpoint_url": self._endpoint_url}
        return f"{type(self).__name__}({', '.join(f'{name}={it!r}' for name, it in shown.items() if it is not None)})"

    def fetch(self, secret: str, *, stage: str = CURRENT) -> SecretVersion:
        """Read the version that carries `stage`. Raises a `SecretError`."""
        return or_raise(self._read(secret, stage))

    def fetch_many(self, secrets: Sequence[str]) -> Mapping[str, SecretVersion | SecretError]:
        """Read the current versions, twenty with one call, each asked for once.

        Where a batch is not allowed or not known, each is read by itself. If a whole batch fails for another reason,
        so has each secret in it: asking again one by one would make a throttled store worse.
        """
        names = list(dict.fromkeys(secrets))
        found: dict[str, Outcome] = {}
        for start in range(0, len(names), CHUNK):
            found |= self._fetch_chunk(names[start : start + CHUNK])
        return {name: found[name] for name in names}

    def describe(self, secret: str) -> Mapping[str, Any]:
        """Return what `DescribeSecret` says: labels and dates, no value. Raises a `SecretError`."""
        answer: Mapping[str, Any] | SecretError = self._ask(
            secret, lambda client: client.describe_secret(SecretId=secret)
        )
        if isinstance(answer, SecretError):
            raise answer
        return answer

    def allows_batch(self, secret: str) -> bool:
        """Whether a batch may be asked for here. Raises a `SecretError`."""
        answer = self._ask(secret, lambda client: _ask_for_all(client, [secret]).is_refused)
        if isinstance(answer, SecretError):
            raise answer
        return not answer

    def find_endpoint(self) -> tuple[str, str] | SecretError:
        """Return the region and the address that would be asked. Nothing is sent."""
        return self._ask("", lambda client: (str(client.meta.region_name), str(client.meta.endpoint_url)))

    def has_credentials(self) -> bool:
        """Whether there are IAM credentials to sign with, wherever they come from."""
        return (
            self._given is not None
            or self._ask("", lambda _: self._session_now().get_credentials() is not None) is True
        )

    def take_requests(self) -> int:
        """Return how many requests this thread has sent since it last asked, each retry counted."""
        sent, _sent.requests = _sent.requests, 0
        return sent

    def close(self) -> None:
        """Close the connections of this process. A later read opens others."""
        slot = self._slot()
        with slot.lock:
            client, slot.client = slot.client, None
        if client is not None:
            client.close()

    def _read(self, secret: str, stage: str) -> Outcome:
        answer = self._ask(secret, lambda client: client.get_secret_value(SecretId=secret, VersionStage=stage))
        return answer if isinstance(answer, SecretError) else attempt(partial(version_of, answer), secret)

    def _fetch_chunk(self, names: list[str]) -> dict[str, Outcome]:
        slot = self._slot()
        if len(names) == 1 or self._ticks() < slot.no_batch_until:
            return {name: attempt(self.fetch, name) for name in names}
        answer = self._ask(names[0], lambda client: _ask_for_all(client, names))
        if isinstance(answer, SecretError):
            return {name: type(answer)(name, answer.hint) for name in names}
        if answer.is_refused:
            slot.no_batch_until = self._ticks() + BATCH_PAUSE_SECONDS
        # By itself whatever has no outcome here: an id in a form that the answer does not repeat, or all of them.
        return {name: self._find(name, answer) or attempt(self.fetch, name) for name in names}

    def _find(self, name: str, answer: _Batch) -> Outcome | None:
        for value in answer.values:
            if name in (value.get("Name"), value.get("ARN")) or _is_partial(name, str(value.get("ARN"))):
                return attempt(partial(version_of, value), name)
        for error in answer.errors:
            if error.get("SecretId") == name:
                code, message = str(error.get("ErrorCode", "")), str(error.get("Message", ""))
                found = explain_code(name, code, message, self._region_asked())
                # What may pass is worth the retries that the SDK makes for a call of its own.
                return None if isinstance(found, SecretUnavailable) else found
        return None

    def _ask(self, secret: str, call: Callable[[Any], Result]) -> Result | SecretError:
        """Return the answer, or what is wrong: raised later, it drags no frame or error of the SDK along."""
        try:
            with unlogged():
                return call(self._client())
        except ImportError:
            return SecretUnavailable(secret, "boto3 is not installed: install `tegata-credentials[aws]`")
        except Exception as error:  # noqa: BLE001 - of the SDK: its frames hold answers, and secrets in them
            is_stale, explained = is_about_credentials(error), explain(secret, error, self._region_asked())
        if is_stale and self._session is None:
            self.close()  # so that credentials are looked for again
        return explained

    def _region_asked(self) -> str | None:
        client = self._given or self._slot().client
        return self._region if client is None else str(client.meta.region_name)

    def _client(self) -> Any:
        if self._given is not None:
            return self._given
        slot = self._slot()
        with slot.lock:
            if slot.client is None:
                slot.client = self._open()
            return slot.client

    def _open(self) -> Any:
        from botocore.config import Config

        retries = {"mode": "standard", "total_max_attempts": CALLS}
        config = Config(retries=retries, **self._timeouts)
        session = self._session_now()
        # Other SDKs of AWS read AWS_REGION, and its platforms set it; this one reads AWS_DEFAULT_REGION only.
        named = None if self._session is not None and session.region_name else os.environ.get("AWS_REGION")
        region = self._region or named or None
        client = session.client("secretsmanager", region_name=region, endpoint_url=self._endpoint_url, config=config)
        _listen(client)
        return client

    def _session_now(self) -> Any:
        import boto3

        return self._session or boto3.Session()

    def _slot(self) -> _Slot:
        pid = os.getpid()
        # `setdefault` is one atomic step: two threads of a new process agree without a lock to inherit.
        return self._slots.get(pid) or self._slots.setdefault(pid, _Slot())


def _ask_for_all(client: Any, names: list[str]) -> _Batch:
    from botocore.exceptions import ClientError, ParamValidationError

    batch, page = _Batch(), dict[str, str]()
    while True:
        try:
            answer = client.batch_get_secret_value(SecretIdList=names, **page)
        except (ClientError, ParamValidationError) as error:
            if not refuses_batch(error) and not finds_batch_invalid(error):
                raise
            return _Batch(is_refused=refuses_batch(error))
        batch.values += answer.get("SecretValues", [])
        batch.errors += answer.get("Errors", [])
        if not answer.get("NextToken") or answer["NextToken"] == page.get("NextToken"):
            return batch
        page = {"NextToken": answer["NextToken"]}


def _is_partial(name: str, arn: str) -> bool:
    """Whether this is the ARN without the hyphen and six signs that AWS has put at its end."""
    return name.startswith("arn:") and arn[:-7] == name and arn[-7:-6] == "-"


def version_of(answer: Mapping[str, Any], secret: str) -> SecretVersion:
    """Read an answer of `GetSecretValue`, or one value of a batch. Raises `SecretMalformed`."""
    text, binary = answer.get("SecretString"), answer.get("SecretBinary")
    if text is None and isinstance(binary, bytes):
        text = decode(secret, binary)
    if not isinstance(text, str):
        raise SecretMalformed(secret, "holds no value: write one with `aws secretsmanager put-secret-value`")
    stages = frozenset(map(str, answer.get("VersionStages") or ()))
    arn = answer.get("ARN")
    return SecretVersion(secret, str(answer.get("VersionId", "")), check_text(secret, text), stages, arn and str(arn))
