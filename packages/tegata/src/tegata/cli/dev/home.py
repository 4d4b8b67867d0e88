"""The directory that `tegata dev` keeps its state in (`TEGATA_HOME`): what is in it, and that it is ours.

Files are 0600 and replaced by rename, so that a reader never sees half of one.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tegata.cli.failures import UNAVAILABLE, USAGE, CommandFailure
from tegata.crypto.envelope import new_master_key
from tegata.postgres.embedded import EmbeddedPostgres
from tegata.postgres.target import ConnectionTarget

MARKER = "tegata-home"
MASTER_KEY = "master.key"
SECRETS = "secrets.json"
DATABASE = "database.json"
DEV = "dev.json"
LOCK = "lock"
POSTGRES = "postgres"
# What a start makes, and so what starting over may delete. dev.json is replaced when the new server serves: whoever
# watches it never finds it missing.
_FILES = (MASTER_KEY, SECRETS, DATABASE)


@dataclass(frozen=True, slots=True)
class Home:
    """`TEGATA_HOME`. Looking at it changes nothing; only `prepare` makes it."""

    directory: Path

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL's own directory."""
        return self.directory / POSTGRES

    @property
    def dev_json(self) -> Path:
        """What the running server tells tools and tests."""
        return self.directory / DEV

    def prepare(self) -> None:
        """Make the directory, or find that it is ours. Raises `CommandFailure`."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours() and any(self.directory.iterdir()):
                raise self._not_ours()
            self.write(
                MARKER, "State of `tegata dev`. Deleting this directory, or `tegata dev --reset`, starts over.\n"
            )
        except OSError as error:
            raise CommandFailure(f"{self.directory} cannot be used as TEGATA_HOME: {error.strerror}") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other `tegata dev` out of this directory. A killed process leaves no lock behind."""
        with (self.directory / LOCK).open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandFailure(
                    f"another `tegata dev` is running in {self.directory}: stop it first, or choose another directory "
                    "with TEGATA_HOME (and another port with TEGATA_PORT)",
                    UNAVAILABLE,
                ) from None
            yield

    def reset(self) -> None:
        """Delete what earlier starts have made, and nothing else. Call it under the lock."""
        if not self._is_ours():
            raise self._not_ours()
        for name in _FILES:
            (self.directory / name).unlink(missing_ok=True)
        if self.postgres.is_symlink():
            raise CommandFailure(f"{self.postgres} is a link; remove it yourself")
        # With the server that a killed process may have left behind, and its socket.
        EmbeddedPostgres(self.postgres).discard()

    def master_key(self) -> str:
        """Return the master key of this home, made at the first call."""
        found = self.find_master_key()
        if found is None:
            found = new_master_key()
            self.write(MASTER_KEY, found + "\n")
        return found

    def find_master_key(self) -> str | None:
        """Return the master key, or None if there is none yet."""
        try:
            return (self.directory / MASTER_KEY).read_text(encoding="ascii").strip() or None
        except FileNotFoundError:
            return None

    def secrets(self) -> dict[str, str]:
        """Return the secrets that were made for the example tenants, by the name of their reference."""
        found = self._read_json(SECRETS)
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def write_secrets(self, secrets: Mapping[str, str]) -> None:
        """Keep the secrets."""
        self.write(SECRETS, json.dumps(dict(secrets), indent=2) + "\n")

    def write_database(self, target: ConnectionTarget | None) -> None:
        """Tell other commands that a server runs here, and where its embedded database listens.

        That is a private socket without a password. None: the database is the one of TEGATA_DATABASE_URL.
        """
        told: dict[str, Any] = {"pid": os.getpid()}
        if target is not None:
            told |= {"host": target.host, "port": target.port, "user": target.user, "database": target.database}
        self.write(DATABASE, json.dumps(told) + "\n")

    def forget_database(self) -> None:
        """Say that the database does not run any more."""
        (self.directory / DATABASE).unlink(missing_ok=True)

    def is_running(self) -> bool:
        """Whether `tegata dev` runs in this home."""
        try:
            os.kill(int(self._read_json(DATABASE)["pid"]), 0)
        except (KeyError, ValueError, TypeError, OSError):
            return False
        return True

    def embedded_database(self) -> ConnectionTarget | None:
        """Return the way in of the embedded database's administrator, if that is what runs here."""
        found = self._read_json(DATABASE)
        try:
            return ConnectionTarget(
                host=str(found["host"]),
                port=int(found["port"]),
                user=str(found["user"]),
                database=str(found["database"]),
            )
        except (KeyError, ValueError, TypeError):
            return None

    def write(self, name: str, text: str) -> None:
        """Replace a file with one that only this user can read."""
        descriptor, temporary = tempfile.mkstemp(dir=self.directory, prefix=f".{name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
            os.replace(temporary, self.directory / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.directory / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _is_ours(self) -> bool:
        return (self.directory / MARKER).is_file()

    def _not_ours(self) -> CommandFailure:
        return CommandFailure(
            f"{self.directory} holds other things and was not made by Tegata; choose another directory by TEGATA_HOME",
            USAGE,
        )
