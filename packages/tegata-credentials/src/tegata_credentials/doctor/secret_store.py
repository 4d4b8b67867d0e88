"""Everything on the way to secrets: the store, the rights, what the secrets hold, and whether rotation goes on.

Values are looked at for their shape only; none comes near a report.
"""

from __future__ import annotations

import datetime
import os
import socket
import stat
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tegata_credentials.doctor.report import Check, Report, failed, ok, skipped
from tegata_credentials.errors import (
    CredentialError,
    SecretAccessDenied,
    SecretError,
    SecretMalformed,
    SecretNotFound,
    SecretThrottled,
)
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.sources.references import Reference, ReferencedSecrets
from tegata_credentials.versions import CURRENT, PENDING, SecretVersion

_HOUR, _DAY = 3600.0, 86_400.0
_PATIENCE = 2.0
_ENDINGS = ("database", "jwt", "external-apis")
_IN_MEMORY = ("tmpfs", "ramfs")


def examine_secrets(
    named: Sequence[str],
    *,
    shape: str | None = None,
    store: AwsSecretsManager | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Examine secrets, by name, ARN or reference. `shape` holds for those whose names do not end in one. Never raises.

    >>> import os
    >>> os.environ["DOCTORS_EXAMPLE"] = '{"username": "app", "password": "hidden"}'
    >>> report = examine_secrets(["env:DOCTORS_EXAMPLE"], shape="json")
    >>> report.is_healthy, "hidden" in report.text()
    (True, False)
    """
    examination = _Examination(store or AwsSecretsManager(), shape, clock)
    examination.run(named)
    return Report(tuple(examination.checks))


@dataclass(slots=True)
class _Examination:
    store: AwsSecretsManager
    shape: str | None
    clock: Callable[[], float]
    checks: list[Check] = field(default_factory=list)

    def run(self, named: Sequence[str]) -> None:
        secrets = ReferencedSecrets({"awssm": self.store})
        references = []
        for text in named:
            try:
                references.append(secrets.parse_name(text))
            except CredentialError as error:
                self.checks.append(failed("name", "secret_name_wrong", problem=str(error)))
        in_store = [reference.name for reference in references if reference.scheme == "awssm"]
        is_reachable = not in_store or self._find_store()
        for reference in references:
            if reference.scheme != "awssm" or is_reachable:
                self._examine(secrets, reference)
        if in_store and is_reachable:
            self.checks.append(self._try_batch(in_store[0]))
        secrets.close()

    def _find_store(self) -> bool:
        """Whether asking the store makes sense: a region, credentials, and something that answers."""
        place = self.store.find_endpoint()
        if isinstance(place, SecretError):
            reason = "secrets_region_missing" if "region" in place.hint else "secrets_kit_incomplete"
            self.checks.append(failed("region", reason, problem=place.hint))
            return False
        region, url = place
        self.checks.append(ok("region", f"{region}, at {url}"))
        has_credentials = self.store.has_credentials()
        if has_credentials:
            self.checks.append(ok("identity", "there are IAM credentials"))
        else:
            self.checks.append(failed("identity", "aws_credentials_missing", why="none found"))
        way = _try_way(url)
        self.checks.append(way)
        return has_credentials and way.result != "failed"

    def _examine(self, secrets: ReferencedSecrets, reference: Reference) -> None:
        try:
            found = secrets.read(reference)
        except SecretError as error:
            self.checks.append(_explain(reference, error))
            if not isinstance(error, SecretMalformed):
                return
        else:
            self.checks.append(ok("read", f"{reference}, version {found.version}"))
            self.checks += self._judge_shape(reference, found)
        if reference.scheme == "file":
            self.checks += judge_file(reference.name)
        if reference.scheme == "awssm":
            self._judge_rotation(reference)

    def _judge_shape(self, reference: Reference, found: SecretVersion) -> Iterator[Check]:
        name = reference.name.rpartition(":secret:")[2]
        shape = next((ending for ending in _ENDINGS if f"-secret-{ending}" in name), self.shape)
        if shape is None or reference.key is not None:
            return
        try:
            if shape == "json":
                found.document()
            else:
                check_model(found, shape)
        except SecretMalformed as error:
            yield failed("shape", "secret_malformed", secret=str(reference), shape=shape, why=error.hint)
        except CredentialError as error:
            yield skipped("shape", str(error))
        else:
            yield ok("shape", f"{reference} holds what a {shape} secret must hold")

    def _judge_rotation(self, reference: Reference) -> None:
        try:
            said = self.store.describe(reference.name)
        except SecretAccessDenied:
            self.checks.append(skipped("labels", "not seen: secretsmanager:DescribeSecret is not allowed"))
        except SecretError as error:
            self.checks.append(skipped("labels", str(error)))
        else:
            self.checks += judge_labels(str(reference), said, now=self.clock())

    def _try_batch(self, name: str) -> Check:
        try:
            is_allowed = self.store.allows_batch(name)
        except SecretError as error:
            return skipped("batch", str(error))
        if is_allowed:
            return ok("batch", "many secrets can be read with one call")
        return skipped("batch", "secretsmanager:BatchGetSecretValue is not allowed: each secret is a call of its own")


def check_model(found: SecretVersion, shape: str) -> None:
    """Raise `SecretMalformed` unless the secret is of this shape."""
    from tegata_credentials.secret_service import models
    from tegata_credentials.secret_service.parsing import parse

    shapes: dict[str, type[models.SecretModel]] = {"database": models.DatabaseCredentials, "jwt": models.JwtSecret}
    parse(found, shapes.get(shape, models.ExternalApiCredentials))


def judge_labels(secret: str, said: Mapping[str, Any], *, now: float) -> Iterator[Check]:
    """Judge what `DescribeSecret` says: labels where they belong, no rotation stuck or overdue."""
    labels = {str(version): set(stages) for version, stages in (said.get("VersionIdsToStages") or {}).items()}
    current, pending = (
        next((version for version, stages in labels.items() if label in stages), None) for label in (CURRENT, PENDING)
    )
    if current is None:
        yield failed("labels", "secret_without_current", secret=secret)
    elif pending not in (None, current):
        age = _age(said.get("LastChangedDate"), now)
        if age > _HOUR:
            yield failed("labels", "rotation_stuck", secret=secret, version=pending, hours=int(age // _HOUR))
        else:
            yield ok("labels", f"{secret}: a rotation is under way")
    else:
        yield ok("labels", f"{secret}: one current version, no unfinished rotation")
    if not said.get("RotationEnabled"):
        changed = _age(said.get("LastChangedDate"), now)
        yield ok("rotation", f"{secret} does not rotate by itself; changed {int(changed // _DAY)} days ago")
        return
    late = _age(said.get("NextRotationDate"), now)
    if late > _DAY:
        yield failed("rotation", "rotation_overdue", secret=secret, days=int(late // _DAY))
    else:
        yield ok("rotation", f"{secret}: rotation is on")


def judge_file(path: str) -> Iterator[Check]:
    """Judge who else may read or change the file. A file system in memory is how Docker and Kubernetes give secrets."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield failed("file", "secret_file_writable", path=path)
    elif mode & stat.S_IROTH and _file_system_of(path) not in _IN_MEMORY:
        yield failed("file", "secret_file_readable", path=path)
    else:
        yield ok("file", f"{path} is open to nobody else who matters")


def _file_system_of(path: str) -> str:
    """Return the kind of file system, as proc(5), /proc/PID/mountinfo, says; empty where there is no such file."""
    real, found = os.path.realpath(path), ("", "")
    with suppress(OSError), open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            before, _, behind = line.partition(" - ")
            place = before.split()[4].encode().decode("unicode_escape")
            if (real + "/").startswith(place.rstrip("/") + "/") and len(place) >= len(found[0]):
                found = place, behind.split()[0]
    return found[1]


def _age(moment: object, now: float) -> float:
    return now - moment.timestamp() if isinstance(moment, datetime.datetime) else 0.0


def _try_way(url: str) -> Check:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return skipped("endpoint", "a proxy stands between: its answer is that of the reads below")
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except socket.gaierror:
        why = "cannot be resolved"
    except ConnectionRefusedError:
        why = "refuses connections"
    except OSError:
        why = "does not answer"
    else:
        return ok("endpoint", f"{host}:{port} answers")
    return failed("endpoint", "secrets_endpoint_silent", host=host, port=port, why=why)


def _explain(reference: Reference, error: SecretError) -> Check:
    reason = "secret_unavailable"
    for kind, name in (
        (SecretNotFound, "secret_missing"),
        (SecretAccessDenied, "secret_denied"),
        (SecretThrottled, "secret_throttled"),
        (SecretMalformed, "secret_unreadable"),
    ):
        if isinstance(error, kind):
            reason = name
    return failed("read", reason, secret=str(reference), why=error.hint)


__all__ = ["examine_secrets", "judge_file", "judge_labels"]
