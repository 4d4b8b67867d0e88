"""What operators' commands work with: settings, the ways into the database, the master key.

Without settings for a database, commands use the one of a running `tegata dev` in TEGATA_HOME.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tegata.cli.dev.home import Home
from tegata.cli.dev.made_secrets import as_references
from tegata.cli.dev.ways import Ways
from tegata.cli.failures import USAGE, CommandFailure
from tegata.cli.ways_in import check_secret_of, checked_target_of, process_secrets, target_of
from tegata.crypto.envelope import Envelope
from tegata.flows.admin.apply import Operator
from tegata.flows.admin.references import StoredReferences, standard_references
from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE
from tegata.postgres.secret_logins import ProcessSecrets
from tegata.postgres.target import ConnectionTarget
from tegata.settings import Settings
from tegata.storage.ports import OperatorStorage
from tegata_credentials.observer import WrittenAudit


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Settings, and the database of a running `tegata dev` if there is one. Settings for operators come first."""

    settings: Settings
    environment: Mapping[str, str]
    home: Home
    development: Ways | None
    secrets: ProcessSecrets

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Surroundings:
        """Read settings and, if they name no database for operators, look for a running development server."""
        settings = Settings.from_environment(environment)
        home = Home(settings.home)
        # A command sets up no log: who reads a secret is told on standard error.
        secrets = process_secrets(settings, environment, observer=WrittenAudit())
        return cls(settings, environment, home, _development(settings, home), secrets)

    @property
    def allow_loopback_http(self) -> bool:
        """Whether documents may name http addresses on loopback."""
        return self.settings.allow_loopback_http or self.development is not None

    def maintenance(self) -> ConnectionTarget:
        """Return the way in for `apply`, `export` and `keys`. Raises `CommandFailure`."""
        if self.development is not None:
            return self.development.entering(MAINTENANCE)
        url = self.settings.maintenance_database_url
        if url is None:
            raise _no_database("TEGATA_MAINTENANCE_DATABASE_URL", "the maintenance role", self.home)
        return checked_target_of(self.settings, "maintenance_database_url", self.secrets)

    def migration(self) -> ConnectionTarget:
        """Return the way in for `migrate` and `doctor`. Raises `CommandFailure`."""
        if self.development is not None:
            return self.development.administrator
        url = self.settings.migration_database_url
        if url is None:
            raise _no_database("TEGATA_MIGRATION_DATABASE_URL", "a member of the owner role", self.home)
        return checked_target_of(self.settings, "migration_database_url", self.secrets)

    def administration(self) -> ConnectionTarget:
        """Return the administrator's way in, for `db bootstrap`. Raises `CommandFailure`."""
        if self.settings.bootstrap_database_url is not None:
            return checked_target_of(self.settings, "bootstrap_database_url", self.secrets)
        if self.development is not None:
            return self.development.administrator
        raise _no_database("TEGATA_BOOTSTRAP_DATABASE_URL", "its administrator", self.home)

    def application(self) -> ConnectionTarget | None:
        """Return the server's own way in, if it is known: the doctor looks from there as well."""
        if self.development is not None:
            return self.development.entering(APPLICATION) if self.development.embedded else None
        url = self.settings.database_url
        if url is None:
            return None
        # Past a pooler, which passes nothing on that the doctor's session needs.
        direct = "database_listen_url" if self.settings.database_listen_url is not None else "database_url"
        return checked_target_of(self.settings, direct, self.secrets)

    def reader(self) -> ConnectionTarget | None:
        """Return the way into the replica, if there is one, for commands that only read."""
        url = None if self.development is not None else self.settings.database_reader_url
        return None if url is None else checked_target_of(self.settings, "database_reader_url", self.secrets)

    @property
    def has_master_key(self) -> bool:
        """Whether `envelope` will find one."""
        return self.settings.master_key is not None or self._development_key() is not None

    def envelope(self) -> Envelope:
        """Return the master key. Raises `CommandFailure`."""
        key = self.settings.master_key
        text = key.get_secret_value() if key is not None else self._development_key()
        if text is None:
            raise CommandFailure("TEGATA_MASTER_KEY (or TEGATA_MASTER_KEY_FILE) is not set", USAGE)
        try:
            return Envelope.from_text(text)
        except ValueError as error:
            raise CommandFailure(f"TEGATA_MASTER_KEY cannot be used: {error}", USAGE) from None

    def references(self) -> StoredReferences:
        """Return where documents' secrets come from; in development also what `tegata dev` has made."""
        made = {} if self.development is None else as_references(self.home.secrets())
        return standard_references({**made, **self.environment})

    def _development_key(self) -> str | None:
        return None if self.development is None else self.home.find_master_key()

    @asynccontextmanager
    async def storage(self) -> AsyncIterator[OperatorStorage]:
        """Open the store as the maintenance role."""
        async with self._storage(None) as storage:
            yield storage

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[OperatorStorage]:
        """Open the store for a command that only reads: its lists and searches may come from the replica."""
        async with self._storage(self.reader()) as storage:
            yield storage

    @asynccontextmanager
    async def _storage(self, reader: ConnectionTarget | None) -> AsyncIterator[OperatorStorage]:
        from tegata.cli.databases import operator_storage

        target = self.maintenance()
        await check_secret_of(self.settings, "maintenance_database_url", target)
        async with operator_storage(target, reader=reader) as storage:
            yield storage

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Operator]:
        """Open the store with the master key: what changes need."""
        envelope = self.envelope()
        async with self.storage() as storage:
            yield Operator(storage, envelope)


def _development(settings: Settings, home: Home) -> Ways | None:
    named = (settings.maintenance_database_url, settings.migration_database_url)
    if named != (None, None) or not home.is_running():
        return None
    embedded = home.embedded_database()
    if embedded is not None:
        return Ways(embedded, embedded=True)
    url = settings.database_url
    return None if url is None else Ways(target_of(settings, "database_url"), embedded=False)


def _no_database(name: str, role: str, home: Home) -> CommandFailure:
    return CommandFailure(
        f"{name} is not set (PostgreSQL as {role}), and no `tegata dev` is running in {home.directory}", USAGE
    )
