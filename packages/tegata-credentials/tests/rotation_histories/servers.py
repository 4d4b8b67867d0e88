"""A primary and its streaming replica, for all histories of one worker: passwords over TCP, all that is said kept.

The superuser comes through the socket. Everybody else needs a password, whose SCRAM verifier the replica has only after
it has replayed the change: what a lagging replica does to a rotation is therefore real.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster, fastest_directory
from tegata.testing.replicas import PRIMARY, Replica
from tegata_credentials.testing import free_port

HOST = "127.0.0.1"
_RULES = """\
local all         postgres              trust
local replication postgres              trust
host  all         postgres 127.0.0.1/32 reject
host  all         all      127.0.0.1/32 scram-sha-256
"""
# `log_statement=ddl`, which audits ask for, is what writes down a password that was sent in clear.
_SAID = {"log_statement": "ddl", "log_min_messages": "log"}
# A replica follows soon after a restart of the primary, and gets what is committed at once. A history is mostly logins,
# and a login is mostly a new process of the server: a small one.
_QUICK = {"wal_retrieve_retry_interval": "50ms", "synchronous_commit": "local", "autovacuum": "off"}
_SMALL = {"shared_buffers": "2MB", "max_connections": "80"}
# Where it can be chosen, since PostgreSQL 16: how often a password is hashed is not what histories are about.
_SOON_HASHED = {"scram_iterations": "64"}
# What a login of these roles leads to is decided by these rows; nobody but the server sees a verifier.
_ROLES = """\
with role as (select * from pg_authid where rolname = '{group}' or starts_with(rolname, '{group}_'))
select md5(concat(
    (select string_agg(md5(role::text), ',' order by oid) from role),
    (select string_agg(held::text, ',' order by held::text)
       from pg_auth_members held where member in (select oid from role)),
    (select string_agg(chosen::text, ',' order by chosen::text)
       from pg_db_role_setting chosen where setrole in (select oid from role) or setrole = 0)))"""


class _Primary(Cluster):
    """A cluster that listens on TCP as well; the number of the port is in its socket's name too."""

    @property
    def admin(self) -> ConnectionTarget:
        return replace(super().admin, port=int(self.settings["port"]))

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self._server.log_file


class _Replica(Replica):
    """A replica whose log is a file."""

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self._server.log_file


class Servers:
    """The pair. `lag` and `restart` hold for whoever uses it: a history heals what it has broken."""

    def __init__(self, bindir: Path | None = None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="rotation-", dir=fastest_directory()))
        rules = self._directory / "pg_hba.conf"
        rules.write_text(_RULES)
        small = _SMALL if bindir is not None else {**_SMALL, **_SOON_HASHED}
        listening = {**PRIMARY, **_SAID, **_QUICK, **small, "listen_addresses": HOST, "hba_file": str(rules)}
        self.port, self.reader_port = free_port(), free_port()
        self._primary = _Primary(bindir, settings={**listening, "port": str(self.port)})
        self._replica = _Replica(self._primary, settings={"port": str(self.reader_port), "hot_standby": "on"})
        self._reader: ConnectionTarget | None = None
        self._lock = threading.Lock()
        self._unread = ""  # what was said before a restart
        self._read: dict[Path, int] = {}
        self._admin: psycopg.Connection[Any] | None = None
        self._reader_admin: psycopg.Connection[Any] | None = None
        self.restarts = 0

    def start(self) -> None:
        """Start both."""
        assert self._primary.admin
        self._reader = replace(self._replica.start(), port=self.reader_port)
        self.catch_up()

    def stop(self) -> None:
        """Stop both and remove their files."""
        self._forget()
        self._replica.remove()
        self._primary.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def execute(self, statement: Any, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Ask the primary as superuser, in a transaction of its own."""
        with self._lock:  # two steps at once look after the replica at once
            if self._admin is None:
                self._admin = psycopg.connect(self._primary.admin.psycopg_conninfo(), autocommit=True)
            return _answer(self._admin, statement, parameters)

    def set_password(self, role: str, password: str) -> None:
        """Give a role a password that the server never sees."""
        self.execute("select 1")
        assert self._admin is not None
        verifier = self._admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        self.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier)))

    def roles(self, group: str, *, at_reader: bool) -> str:
        """Return a digest of all that these servers know of a group's roles: it changes with what a login leads to."""
        ask = self._ask_reader if at_reader else self.execute
        [(found,)] = ask(_ROLES.format(group=group))
        return str(found)

    def lag(self) -> None:
        """Let the replica receive and not replay."""
        self._ask_reader("select pg_wal_replay_pause()")
        # The pause is a request: what is being replayed is finished first.
        _wait(lambda: self._ask_reader("select pg_get_wal_replay_pause_state()") == [("paused",)], "the pause")

    def catch_up(self) -> None:
        """End the lag, and wait until the replica has replayed all that the primary has written."""
        self._ask_reader("select pg_wal_replay_resume()")
        [(position,)] = self.execute("select pg_current_wal_flush_lsn()::text")
        question = f"select pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
        try:
            _wait(lambda: self._ask_reader(question) == [(True,)], "the replica")
        except AssertionError as error:
            said = self._replica.log_file.read_text(errors="replace")
            error.add_note(f"the replica's log ends so:\n{said[-3000:]}")
            raise

    def until_unlocked(self) -> None:
        """Wait until nobody has a lock of a secret: whoever is gone may have one until the server has taken note."""
        question = "select from pg_locks where locktype = 'advisory' limit 1"
        _wait(lambda: self.execute(question) == [], "the end of a session")

    def restart(self) -> None:
        """Restart the primary, as in a maintenance window: every session ends."""
        self._forget()
        self._unread += self._news(self._primary.log_file)
        self._primary.restart()
        self._read.pop(self._primary.log_file, None)
        self.restarts += 1

    def news(self) -> str:
        """Return what both servers have logged since this was last asked."""
        unread, self._unread = self._unread, ""
        return unread + self._news(self._primary.log_file) + self._news(self._replica.log_file)

    def _news(self, log: Path) -> str:
        with log.open("rb") as opened:
            opened.seek(self._read.get(log, 0))
            found = opened.read()
            self._read[log] = opened.tell()
        return found.decode(errors="replace")

    def _ask_reader(self, statement: str) -> list[tuple[Any, ...]]:
        assert self._reader is not None
        with self._lock:
            if self._reader_admin is None:
                self._reader_admin = psycopg.connect(self._reader.psycopg_conninfo(), autocommit=True)
            return _answer(self._reader_admin, statement, None)

    def _forget(self) -> None:
        for connection in (self._admin, self._reader_admin):
            if connection is not None:
                connection.close()
        self._admin = self._reader_admin = None


def _answer(connection: psycopg.Connection[Any], statement: Any, parameters: Any) -> list[tuple[Any, ...]]:
    done = connection.execute(statement, parameters)
    return done.fetchall() if done.description else []


def _wait(is_so: Any, what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.002)


@contextmanager
def started(bindir: Path | None = None) -> Iterator[Servers]:
    """Both servers, running."""
    servers = Servers(bindir)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()
