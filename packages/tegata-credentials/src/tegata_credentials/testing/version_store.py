"""A store of versions in memory that keeps the contract of AWS Secrets Manager, for tests of rotation.

API reference of AWS Secrets Manager: PutSecretValue, UpdateSecretVersionStage, RotateSecret.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tegata_credentials.errors import SecretNotFound
from tegata_credentials.rotation.errors import RotationBusy, RotationRefused
from tegata_credentials.rotation.ports import Labels
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS, SecretVersion


@dataclass(slots=True)
class _Kept:
    arn: str
    values: dict[str, HiddenText] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)  # label -> version

    def stages_of(self, version: str) -> frozenset[str]:
        return frozenset(stage for stage, holder in self.stages.items() if holder == version)


class MemoryVersions:
    """Keeps secrets in memory, for threads of one process.

    Example:

        >>> store = MemoryVersions()
        >>> arn = store.add("shop-dev-secret-database", {"username": "app_a", "password": "correct-horse"})
        >>> store.announce(arn, "0b51")
        >>> sorted(store.labels(arn).versions["0b51"])
        ['AWSPENDING']
    """

    def __init__(self, new_id: Callable[[], str] = lambda: str(uuid.uuid4())) -> None:
        self._new_id = new_id
        self._lock = threading.RLock()
        self._secrets: dict[str, _Kept] = {}

    def add(self, name: str, value: Mapping[str, Any] | str) -> str:
        """Make a secret with a first version, which is current; return its ARN."""
        text = HiddenText(value if isinstance(value, str) else json.dumps(value))
        version = self._new_id()
        arn = f"arn:aws:secretsmanager:eu-central-1:000000000000:secret:{name}-{self._new_id()[:6]}"
        with self._lock:
            self._secrets[name] = _Kept(arn, {version: text}, {CURRENT: version})
        return arn

    def announce(self, secret: str, token: str) -> None:
        """Begin a rotation as RotateSecret does: the token is AWSPENDING and has no value yet.

        Raises `RotationBusy` while another rotation is unfinished.
        """
        with self._lock:
            kept = self._kept(secret)
            pending = kept.stages.get(PENDING)
            if pending not in (None, token, kept.stages[CURRENT]):
                raise RotationBusy("a rotation has begun and not ended")
            kept.stages[PENDING] = token

    def move(self, secret: str, stage: str, version: str | None) -> None:
        """Move a label by hand, or take it away: what an operator should not do."""
        with self._lock:
            kept = self._kept(secret)
            kept.stages.pop(stage, None)
            if version is not None:
                kept.stages[stage] = version

    def labels(self, secret: str) -> Labels:
        """Return the versions and their labels."""
        with self._lock:
            kept = self._kept(secret)
            versions = {version: kept.stages_of(version) for version in {*kept.values, *kept.stages.values()}}
            return Labels(kept.arn, self._name(secret), versions)

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        """Return one version; label and version must agree if both are given."""
        with self._lock:
            kept = self._kept(secret)
            found = version or kept.stages.get(stage or CURRENT, "")
            stages = kept.stages_of(found)
            if found not in kept.values or (stage is not None and stage not in stages):
                raise SecretNotFound(secret, f"no value of version {found or '?'} with {stage or 'any label'}")
            return SecretVersion(secret, found, kept.values[found], stages, kept.arn)

    def put_pending(self, secret: str, token: str, text: HiddenText) -> None:
        """Keep a value; the same token with another value is refused."""
        with self._lock:
            kept = self._kept(secret)
            if kept.values.setdefault(token, HiddenText(text)) != text:
                raise RotationRefused("this token has another value already")
            kept.stages[PENDING] = token

    def promote(self, secret: str, token: str, *, replacing: str) -> None:
        """Move AWSCURRENT; AWSPREVIOUS follows, and AWSPENDING leaves both."""
        with self._lock:
            kept = self._kept(secret)
            if kept.stages[CURRENT] != replacing:
                raise RotationBusy("another version has become current meanwhile")
            if token not in kept.values:
                raise SecretNotFound(secret, "the version has no value")
            kept.stages |= {CURRENT: token, PREVIOUS: replacing}
            if kept.stages.get(PENDING) in (token, replacing):
                del kept.stages[PENDING]

    def close(self) -> None:
        """Do nothing."""

    def _name(self, secret: str) -> str:
        for name, kept in self._secrets.items():
            if secret in (name, kept.arn) or (secret.startswith("arn:") and kept.arn.rpartition("-")[0] == secret):
                return name
        raise SecretNotFound(secret)

    def _kept(self, secret: str) -> _Kept:
        return self._secrets[self._name(secret)]
