"""AWS RDS and Aurora: login tokens signed with the IAM credentials of this process.

A token is a signed URL and is made without asking the network; only looking for credentials and renewing them does,
which is why it happens in a thread of the kit's own (`threads.InThread`).
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tegata_credentials.errors import CredentialError, IdentityUnavailable, missing_extra
from tegata_credentials.signing_logs import unlogged
from tegata_credentials.threads import InThread
from tegata_credentials.token_state import Token

LIFE_SECONDS = 750.0
"""What is announced for a token that AWS accepts for 900 s. With the usual margin it is renewed after 600 s, and 150 s
stay for clocks that differ and for session credentials that end before the token they have signed."""

# name.id.region.rds.amazonaws.com; clusters and proxies have further words; China has the region behind `rds`.
_RDS_NAME = re.compile(
    r"[a-z0-9.-]+\.(?:(?P<before>[a-z]{2}(?:-[a-z]+)+-[0-9])\.rds|rds\.(?P<behind>[a-z]{2}(?:-[a-z]+)+-[0-9]))"
    r"\.amazonaws\.com(?:\.cn)?\.?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(slots=True, eq=False)
class _Slot:
    """The client of one process: a forked one must not share its locks and connections."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    client: Any = None


class SyncRdsIamTokens:
    """Signs tokens for one host, port and user, for threads. A reader and a writer host need one provider each.

    `host` is the name that the connection is made to. AWS verifies the real name of the instance, cluster or proxy:
    if `host` is a name of your own for it (a CNAME), give the real one as `sign_for_host`. `region` is read from that
    name if it is not given. `session` is a `boto3.Session`; without one the usual places are searched, and searched
    again after `discard`. Raises `CredentialError` if the name or region does not do.

    Amazon RDS User Guide, "Connecting to your DB instance using IAM authentication".
    """

    def __init__(
        self,
        *,
        host: str,
        user: str,
        port: int = 5432,
        region: str | None = None,
        session: Any = None,
        sign_for_host: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _import()
        self._host = sign_for_host or host
        found = _RDS_NAME.fullmatch(self._host)
        if found is None and sign_for_host is None:
            raise CredentialError(
                f"{host} is not a name that RDS gives, and a token holds for the real one: give it as sign_for_host"
            )
        self._region = region or (found and (found["before"] or found["behind"]).lower())
        if not self._region:
            raise CredentialError(f"{self._host} does not show its AWS region: give it as region")
        self._port = port
        self._user = user
        self._session = session
        self._clock = clock
        self._slots: dict[int, _Slot] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._user}@{self._host}:{self._port}, {self._region})"

    def fetch(self) -> Token:
        """Sign a token. Raises `IdentityUnavailable` if there are no IAM credentials to sign with."""
        outcome = self._sign()
        if isinstance(outcome, IdentityUnavailable):
            self.discard()
            raise outcome
        return outcome

    def discard(self) -> None:
        """Look for IAM credentials again at the next `fetch`."""
        slot = self._slot()
        with slot.lock:
            client, slot.client = slot.client, None
        if client is not None:
            client.close()

    def close(self) -> None:
        """Forget the IAM credentials."""
        self.discard()

    def _slot(self) -> _Slot:
        pid = os.getpid()
        return self._slots.get(pid) or self._slots.setdefault(pid, _Slot())

    def _sign(self) -> Token | IdentityUnavailable:
        from botocore.exceptions import BotoCoreError, ClientError

        now = self._clock()
        try:
            with unlogged():
                value = self._client().generate_db_auth_token(
                    DBHostname=self._host, Port=self._port, DBUsername=self._user, Region=self._region
                )
        except (BotoCoreError, ClientError) as error:
            return _explain(error)
        return Token(value, now + LIFE_SECONDS)

    def _client(self) -> Any:
        slot = self._slot()
        with slot.lock:
            if slot.client is None:
                session = self._session or _import().Session()
                slot.client = session.client("rds", region_name=self._region)
            return slot.client


class RdsIamTokens(InThread):
    """Signs tokens for one host, port and user, for asyncio. The arguments are those of `SyncRdsIamTokens`."""

    def __init__(
        self,
        *,
        host: str,
        user: str,
        port: int = 5432,
        region: str | None = None,
        session: Any = None,
        sign_for_host: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            SyncRdsIamTokens(
                host=host,
                user=user,
                port=port,
                region=region,
                session=session,
                sign_for_host=sign_for_host,
                clock=clock,
            )
        )


def _explain(error: Exception) -> IdentityUnavailable:
    """Translate an error of the SDK, without its text."""
    from botocore import exceptions as sdk

    absent = (sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.ProfileNotFound, sdk.ConfigNotFound)
    if isinstance(error, absent):
        hint = "no IAM credentials found: give the task, function or machine a role, or set AWS_PROFILE"
        return IdentityUnavailable("not_configured", hint)
    if isinstance(error, sdk.ConnectTimeoutError | sdk.ReadTimeoutError):
        return IdentityUnavailable("timeout", "the source of the IAM credentials is too slow")
    if isinstance(error, sdk.HTTPClientError | sdk.ConnectionError):
        return IdentityUnavailable("unreachable", "the source of the IAM credentials cannot be reached")
    if isinstance(error, sdk.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return IdentityUnavailable("refused", "AWS STS gives no credentials for this role", status=status)
    return IdentityUnavailable("refused", f"the IAM credentials cannot be renewed: {type(error).__name__}")


def _import() -> Any:
    try:
        import boto3
    except ImportError as error:
        raise missing_extra("aws", "boto3") from error
    return boto3
