"""A real PgBouncer in front of a test's PostgreSQL, in transaction mode: Debian's program, as our own child.

    with PgBouncer(database.admin, pool_size=3) as bouncer:
        through = bouncer.through(database.app)

It listens on a Unix socket in a private directory and nowhere else. Every database and every user of the server behind
it can be reached; each pair of them has `pool_size` server connections.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import psycopg

from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE
from tegata.postgres.embedded import SUPERUSER, ServerAccount
from tegata.postgres.target import ConnectionTarget

PORT = 6432
_PLACES = ("/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer", "/usr/bin/pgbouncer")


def find_pgbouncer() -> str | None:
    """Return the program, or None where it is not installed; `sbin` is not on everybody's path."""
    return shutil.which("pgbouncer") or next((place for place in _PLACES if Path(place).exists()), None)


class PgBouncer:
    """One PgBouncer for the server that `server` leads to. `settings` are further lines of its configuration."""

    def __init__(self, server: ConnectionTarget, *, pool_size: int = 3, settings: dict[str, str] | None = None) -> None:
        self._server = server
        self._settings = {
            "pool_mode": "transaction",
            "default_pool_size": str(pool_size),
            "max_client_conn": "200",
            "server_lifetime": "3600",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

    def __enter__(self) -> PgBouncer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """What it has said so far."""
        return "" if self._directory is None else (self._directory / "log").read_text(errors="replace")

    def through(self, target: ConnectionTarget) -> ConnectionTarget:
        """Return the same database and login, by way of this PgBouncer."""
        assert self._directory is not None, "start it first"
        return replace(target, host=str(self._directory), port=PORT)

    def show(self, what: str) -> list[dict[str, object]]:
        """Return a table of its administrator's console, such as `pools` or `servers`."""
        console = self.through(self._server).entering_as(SUPERUSER).in_database("pgbouncer")
        # The console understands the simple protocol only, and no transactions.
        with psycopg.connect(console.psycopg_conninfo(), autocommit=True, cursor_factory=psycopg.ClientCursor) as found:
            cursor = found.execute(f"show {what}".encode())
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def start(self, *, timeout_seconds: float = 60.0) -> None:
        """Start it and wait until it answers. Raises `RuntimeError` with what it said."""
        program = find_pgbouncer()
        if program is None:
            raise RuntimeError("pgbouncer is not installed")
        self._directory = Path(tempfile.mkdtemp(prefix="tegata-bouncer-"))
        try:
            account = ServerAccount.for_directory(self._directory)
            account.own(self._directory)
            configuration = self._write_configuration()
            with (self._directory / "log").open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 - Debian's program, our own file, no shell
                    account.command([program, str(configuration)], dies_with_parent=True),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._wait_until_ready(timeout_seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it at once, and remove its files. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    def _write_configuration(self) -> Path:
        assert self._directory is not None
        users = self._directory / "users"
        # The server trusts its socket, and so may PgBouncer: the directories are private.
        names = (SUPERUSER, APPLICATION, MAINTENANCE, self._server.user)
        users.write_text("".join(f'"{name}" ""\n' for name in dict.fromkeys(names)))
        lines = {
            "listen_addr": "",
            "listen_port": str(PORT),
            "unix_socket_dir": str(self._directory),
            "auth_type": "trust",
            "auth_file": str(users),
            "admin_users": SUPERUSER,
            **self._settings,
        }
        path = self._directory / "pgbouncer.ini"
        path.write_text(
            f"[databases]\n* = host={self._server.host} port={self._server.port}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in lines.items())
        )
        return path

    def _wait_until_ready(self, timeout_seconds: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self.show("version")
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"pgbouncer did not start: {error}\n{self.log}") from None
                time.sleep(0.02)
            else:
                return
