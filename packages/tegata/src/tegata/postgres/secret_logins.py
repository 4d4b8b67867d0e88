"""Logins whose user and password come from a secret, asked for at each new session: both may change at any time.

With logins that take turns (`tegata db bootstrap --alternating`) the user changes together with the password.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tegata_credentials.database import PasswordSource, SyncPasswordSource
    from tegata_credentials.observer import Observer
    from tegata_credentials.secret_service.service import SecretService


class ProcessSecrets:
    """What a process reads of secrets while it runs, through one service. Belongs to one event loop.

    The service begins when somebody first holds it, and ends with the last one who lets go, or with the process;
    whoever asks afterwards has another one.
    """

    def __init__(
        self,
        observer: Observer | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        allow_unverified_tls: bool = False,
        cache_seconds: float = 300.0,
        wait_seconds: float = 2.0,
    ) -> None:
        self._observer = observer
        self._environ = environ
        # A refused login waits so long for the end of a rotation: less than the pool gives a connection.
        self._policy = (cache_seconds, wait_seconds)
        self._allow_unverified_tls = allow_unverified_tls
        self._service: SecretService | None = None
        self._holders: set[int] = set()

    @property
    def is_open(self) -> bool:
        """Whether somebody holds the service."""
        return self._service is not None

    def logins(self, reference: str) -> SecretPasswords:
        """Return the passwords of logins by the secret behind `reference`. Nothing is read yet."""
        return SecretPasswords(self, reference, allow_unverified_tls=self._allow_unverified_tls)

    def hold(self, holder: object) -> SecretService:
        """Return the service, which stays open until the same one lets it go. Secrets are named by references."""
        # Loaded where it is used: most processes have no secrets of this kind.
        from tegata_credentials.secret_service.policy import CachePolicy
        from tegata_credentials.secret_service.service import SecretService
        from tegata_credentials.sources.environment import Environment
        from tegata_credentials.sources.references import ReferencedSecrets

        if self._service is None:
            source = ReferencedSecrets({"env": Environment(self._environ)})
            ttl, budget = self._policy
            self._service = SecretService(source, policy=CachePolicy(ttl=ttl, budget=budget), observer=self._observer)
            self._close = weakref.finalize(self, self._service.close)
        self._holders.add(id(holder))
        return self._service

    def let_go(self, holder: object) -> None:
        """Say that `holder` has no more use for the service."""
        self._holders.discard(id(holder))
        if not self._holders and self._service is not None:
            self._close()
            self._service = None


class SecretPasswords:
    """User and password from one secret, for logins at several hosts. Implements `target.Passwords`."""

    auth_method = "secret"

    def __init__(self, secrets: ProcessSecrets, reference: str, *, allow_unverified_tls: bool = False) -> None:
        self.reference = reference
        self.allow_unverified_tls = allow_unverified_tls
        self._secrets = secrets
        self._sources: dict[tuple[str, int], PasswordSource] = {}
        self._sync_sources: dict[tuple[str, int], SyncPasswordSource] = {}

    def source(self, host: str, port: int, user: str) -> PasswordSource:
        """Return the source for one host: what a replica refuses, because it has not heard of it, works elsewhere."""
        from tegata_credentials.secret_service.passwords import SecretLogin

        key = (host, port)
        if key not in self._sources:
            self._sources[key] = SecretLogin(self._secrets.hold(self), self.reference)
        return self._sources[key]

    def sync_source(self, host: str, port: int, user: str) -> SyncPasswordSource:
        """Return the source for a command."""
        from tegata_credentials.secret_service.passwords import SyncSecretLogin

        key = (host, port)
        if key not in self._sync_sources:
            self._sync_sources[key] = SyncSecretLogin(self._secrets.hold(self), self.reference)
        return self._sync_sources[key]

    async def check(self) -> None:
        """Read the secret once. Raises the `SecretError` that a login would fail with, and says what is wrong in it."""
        from tegata_credentials.secret_service.models import Login

        await self._secrets.hold(self).aget(self.reference, Login)

    async def close(self) -> None:
        """Forget the password, and let the service go."""
        for source in self._sources.values():
            await source.close()
        for sync_source in self._sync_sources.values():
            sync_source.close()
        self._sources.clear()
        self._sync_sources.clear()
        self._secrets.let_go(self)
