"""Real PostgreSQL servers with and without TLS, and every way of this kit to open a connection to them.

`127.1` and `127.2` are loopback addresses in a spelling that is not recognised as one, so to the rules about TLS they
are other machines. The certificate names the first of them only.
"""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg import sql
from sqlalchemy import text

from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import QuickPostgres, fastest_directory
from tegata_credentials import SyncTokenSource, Token, TokenSource
from tegata_credentials.asyncpg import connect as asyncpg_connect
from tegata_credentials.asyncpg import create_pool
from tegata_credentials.psycopg import async_pool, connect, connect_async, pool
from tegata_credentials.sqlalchemy import create_async_engine, create_engine
from tegata_credentials.testing import free_port

from ..closing import until_connections_are_closed  # noqa: TID252 - tests are no installed package

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
ELSEWHERE = "127.1"
MISNAMED = "127.2"
USER_QUERY = "select current_user::text"


class Authority:
    """A certificate authority made for this run."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.root = directory / f"{name}.crt"
        builder = self._builder(self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment"), False)
        usage |= dict.fromkeys(("data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False)
        builder = builder.add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.root.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        # Python compares 127.1 as a name, libpq as an address.
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = self._builder(subject, key.public_key())
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        files = self.directory / "server.crt", self.directory / "server.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, plain))
        files[1].chmod(0o600)
        return files

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


@dataclass
class Server:
    """One PostgreSQL: `app` logs in over TCP with a password, the superuser through the socket."""

    admin: ConnectionTarget
    root: Path
    log: Path

    def url(self, host: str = "127.0.0.1", driver: str = "", database: str = "postgres", query: str = "") -> str:
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://app@{host}:{self.admin.port}/{database}{query}"

    def refused_logins(self) -> int:
        return self.log.read_text(errors="replace").count("password authentication failed")

    def execute(self, statement: Any) -> None:
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            connection.execute(statement)

    def set_password(self, password: str) -> None:
        self.execute(sql.SQL("alter role app password {}").format(sql.Literal(password)))


def start(bindir: Path | None, directory: Path, authority: Authority, *, tls: bool) -> tuple[QuickPostgres, Server]:
    port = free_port()
    rules = directory / "pg_hba.conf"
    rules.write_text("local all postgres trust\nhost all app,app_a,app_b 127.0.0.0/8 scram-sha-256\n")
    rules.chmod(0o644)
    settings = {"listen_addresses": "127.0.0.1,127.0.0.2", "port": str(port), "hba_file": str(rules)}
    if tls:
        certificate, key = authority.issue(ELSEWHERE)
        settings |= {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
    server = QuickPostgres(directory / "pg", bindir=bindir, durable=False, settings=settings)
    admin = replace(server.start(), port=port)
    made = Server(admin, authority.root, server.log_file)
    made.execute("create role app login")
    made.execute("create database closed")
    made.execute("revoke connect on database closed from public")
    return server, made


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="adapters-", dir=fastest_directory()))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def authority(directory: Path) -> Authority:
    return Authority(directory, "right-authority")


@pytest.fixture(scope="session")
def other_authority(directory: Path) -> Authority:
    return Authority(directory, "other-authority")


@pytest.fixture(scope="session")
def server_15(directory: Path, authority: Authority) -> Iterator[Server]:
    if not POSTGRES_15.exists():
        pytest.skip("PostgreSQL 15 is not installed")
    (directory / "15").mkdir()
    process, server = start(POSTGRES_15, directory / "15", authority, tls=True)
    yield server
    process.stop()


@pytest.fixture(scope="session")
def server_18(directory: Path, authority: Authority) -> Iterator[Server]:
    """The server of the wheel, which has no TLS."""
    (directory / "18").mkdir()
    process, server = start(None, directory / "18", authority, tls=False)
    yield server
    process.stop()


@pytest.fixture(params=["PostgreSQL 15", "PostgreSQL 18"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue("server_15" if request.param.endswith("15") else "server_18")


@dataclass
class Identity:
    """Hands out what is set as the current credential, as both kinds of provider."""

    value: str = field(default="first", repr=False)
    fetches: int = 0
    discards: int = 0
    failure: Exception | None = None
    sources: list[Any] = field(default_factory=list)

    def fetch(self) -> Token:
        self.fetches += 1
        if self.failure is not None:
            raise self.failure
        return Token(self.value)

    def discard(self) -> None:
        self.discards += 1

    def close(self) -> None:
        pass

    def sync_source(self, auth_method: str = "managed_identity") -> SyncTokenSource:
        return SyncTokenSource(self, auth_method=auth_method)

    def source(self, auth_method: str = "managed_identity") -> TokenSource:
        return TokenSource(_Async(self), auth_method=auth_method)


@dataclass
class _Async:
    identity: Identity

    async def fetch(self) -> Token:
        return self.identity.fetch()

    async def discard(self) -> None:
        self.identity.discard()

    async def close(self) -> None:
        pass


@pytest.fixture
def identity() -> Identity:
    return Identity()


@pytest.fixture(autouse=True)
def clean(clean_environment: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of a driver's, and no certificates in the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keeps one event loop for all tests: asyncpg lets a TLS connection close by itself, after the test."""
    yield
    await until_connections_are_closed()


@dataclass(frozen=True)
class Adapter:
    """One way to open a connection: `opened` logs in once with a source and returns who the database says we are."""

    name: str
    driver: str
    is_sync: bool
    opened: Callable[..., Any]

    def source(self, identity: Identity, auth_method: str = "managed_identity") -> Any:
        return identity.sync_source(auth_method) if self.is_sync else identity.source(auth_method)

    async def login(self, url: str, source: Any, **options: Any) -> str:
        found = self.opened(url, source, **options)
        return await found if not self.is_sync else found


async def by_asyncpg(url: str, source: TokenSource, **options: Any) -> str:
    connection = await asyncpg_connect(url, password=source, **options)
    try:
        return await connection.fetchval(USER_QUERY)
    finally:
        await connection.close()


async def by_asyncpg_pool(url: str, source: TokenSource, **options: Any) -> str:
    async with create_pool(url, password=source, min_size=1, max_size=2, **options) as opened:
        return await opened.fetchval(USER_QUERY)


async def by_async_engine(url: str, source: TokenSource, **options: Any) -> str:
    engine = create_async_engine(url, password=source, pool_size=1, **options)
    try:
        async with engine.connect() as connection:
            return (await connection.execute(text(USER_QUERY))).scalar_one()
    finally:
        await engine.dispose()


async def by_psycopg_async(url: str, source: TokenSource, **options: Any) -> str:
    async with await connect_async(url, password=source, **options) as connection:
        return (await (await connection.execute(USER_QUERY)).fetchone())[0]


async def by_psycopg_async_pool(url: str, source: TokenSource, **options: Any) -> str:
    made = async_pool(url, password=source, min_size=1, max_size=2, open=False, reconnect_timeout=0.1, **options)
    async with made, made.connection(timeout=60.0) as connection:
        return (await (await connection.execute(USER_QUERY)).fetchone())[0]


def by_psycopg(url: str, source: SyncTokenSource, **options: Any) -> str:
    with connect(url, password=source, **options) as connection:
        return connection.execute(USER_QUERY).fetchone()[0]


def by_psycopg_pool(url: str, source: SyncTokenSource, **options: Any) -> str:
    made = pool(url, password=source, min_size=1, max_size=2, open=False, reconnect_timeout=0.1, **options)
    with made, made.connection(timeout=60.0) as connection:
        return connection.execute(USER_QUERY).fetchone()[0]


def by_engine(url: str, source: SyncTokenSource, **options: Any) -> str:
    engine = create_engine(url, password=source, pool_size=1, **options)
    try:
        with engine.connect() as connection:
            return connection.execute(text(USER_QUERY)).scalar_one()
    finally:
        engine.dispose()


ADAPTERS = [
    Adapter("asyncpg", "", False, by_asyncpg),
    Adapter("asyncpg pool", "", False, by_asyncpg_pool),
    Adapter("SQLAlchemy async on asyncpg", "asyncpg", False, by_async_engine),
    Adapter("SQLAlchemy async on psycopg", "psycopg", False, by_async_engine),
    Adapter("psycopg async", "", False, by_psycopg_async),
    Adapter("psycopg async pool", "", False, by_psycopg_async_pool),
    Adapter("psycopg", "", True, by_psycopg),
    Adapter("psycopg pool", "", True, by_psycopg_pool),
    Adapter("SQLAlchemy on psycopg", "psycopg", True, by_engine),
]


def fixture_of(wanted: Callable[[Adapter], bool]) -> Any:
    """A fixture for those adapters of which this is true."""

    @pytest.fixture(params=[found for found in ADAPTERS if wanted(found)], ids=lambda found: found.name)
    def adapter(request: pytest.FixtureRequest) -> Adapter:
        return request.param

    return adapter


adapter = fixture_of(lambda _: True)
async_adapter = fixture_of(lambda found: not found.is_sync)
engine_adapter = fixture_of(lambda found: bool(found.driver))
# A pool of psycopg's keeps trying and then says that it has waited; asyncpg's raises the error of the login.
telling_adapter = fixture_of(lambda found: found.name not in ("psycopg pool", "psycopg async pool"))
direct_adapter = fixture_of(lambda found: "pool" not in found.name)
direct_async_adapter = fixture_of(lambda found: "pool" not in found.name and not found.is_sync)
driver_adapter = fixture_of(lambda found: "pool" not in found.name and not found.driver)
