"""A real streaming replica of a test cluster: a hot standby that may apply late, and log what it is asked.

The primary has to be made for it: `Cluster(bindir, settings=PRIMARY)`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tegata.postgres.embedded import EmbeddedPostgres, wheel_binaries
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster, MigratedDatabase, fastest_directory
from tegata_credentials.testing.outputs import keep

# What a primary needs that its replicas can follow. `wal_keep_size`: a replica that was stopped finds its place again.
# `max_wal_senders`: more than are ever needed, because one whose client has left may still count for a while.
# `wal_retrieve_retry_interval`: a replica that found nobody tries again soon.
PRIMARY: Mapping[str, str] = {
    "wal_level": "replica",
    "max_wal_senders": "12",
    "wal_keep_size": "128MB",
    "wal_retrieve_retry_interval": "50ms",
}
# Every statement it is asked, which tests read back from `Replica.log`.
LOGGED: Mapping[str, str] = {"log_statement": "all", "log_line_prefix": "[%u] "}


class Replica:
    """A hot standby of `primary`, made when it is first started. `settings`: e.g. `recovery_min_apply_delay`."""

    def __init__(self, primary: Cluster, *, settings: Mapping[str, str] | None = None) -> None:
        self._primary = primary
        self._directory = Path(tempfile.mkdtemp(prefix="tegata-replica-", dir=fastest_directory()))
        self._state = self._directory / "pg"
        self._server = EmbeddedPostgres(
            self._state, bindir=primary.bindir, durable=False, settings={**primary.settings, **(settings or {})}
        )

    def start(self) -> ConnectionTarget:
        """Start to follow and return the superuser's way into the database `postgres`."""
        data = self._state / "data"
        if not data.exists():
            self._copy(data)
        return self._server.start()

    def stop(self) -> None:
        """Stop it; `start` takes up again where it was."""
        self._server.stop()

    def remove(self) -> None:
        """Stop it and remove its files."""
        self._server.stop()
        keep(self._server.log_file)
        shutil.rmtree(self._directory, ignore_errors=True)

    def log(self) -> str:
        """What the server has said since it was last started."""
        return self._server.log_file.read_text(errors="replace")

    def _copy(self, data: Path) -> None:
        self._state.mkdir(mode=0o700)
        bindir = self._primary.bindir or wheel_binaries()
        source = self._primary.admin
        made = subprocess.run(  # noqa: S603 - our own programs and paths, no shell
            [
                *(str(bindir / "pg_basebackup"), "--pgdata", str(data), "--dbname", source.psycopg_conninfo()),
                *("--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"pg_basebackup failed: {made.stderr}")
        if os.geteuid() == 0:
            # The server runs as whoever runs the primary: PostgreSQL refuses root.
            owner = Path(source.host).stat()
            for path in (data, *data.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Replicated:
    """A migrated database, and a replica of the server it is on."""

    primary: Cluster
    writer: MigratedDatabase
    replica: Replica

    def reader(self) -> MigratedDatabase:
        """Return the ways into the replica of the database. Starts it."""
        return MigratedDatabase.of(self.replica.start().in_database(self.writer.admin.database))

    @contextmanager
    def another(self, *, settings: Mapping[str, str] | None = None) -> Iterator[Replicated]:
        """The same database and a replica of its own, which has not been started either."""
        replica = Replica(self.primary, settings=settings)
        try:
            yield Replicated(self.primary, self.writer, replica)
        finally:
            replica.remove()


@contextmanager
def replicated(bindir: Path | None = None, *, settings: Mapping[str, str] | None = None) -> Iterator[Replicated]:
    """A primary with a migrated database, and a replica that has not been started. `settings`: the replica's."""
    primary = Cluster(bindir, settings=PRIMARY)
    replica = Replica(primary, settings=settings)
    try:
        with primary.migrated_database() as database:
            yield Replicated(primary, database, replica)
            replica.stop()  # a database cannot be dropped while a replica's session holds up the log
    finally:
        replica.remove()
        primary.stop()
