"""Which database, and how to log in to it, read from environment variables; contradictions are refused with the cure.

`DATABASE_AUTH` chooses the method; `USE_MANAGED_IDENTITY=true` is another word for `managed_identity`. A URL holds no
password unless the method is `password`. Nothing has a default that could reach a database by accident. No message
repeats a value: it may be a password in the wrong place.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from tegata_credentials.errors import CredentialError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tegata_credentials.database import PasswordSource, SyncPasswordSource
    from tegata_credentials.tokens import SyncTokenProvider, Token, TokenProvider

Auth = Literal["password", "managed_identity", "aws_iam"]
METHODS: tuple[Auth, ...] = ("password", "managed_identity", "aws_iam")

_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_SCHEMES = ("postgresql", "postgres")
# Not urlsplit's own hostname: it changes the case, which matters for the path of a socket written as %2F.
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]@]*)(?::(?P<port>[0-9]{1,5}))?")
_ALIASES = {
    "host": "host",
    "port": "port",
    "user": "user",
    "password": "password",
    "dbname": "database",
    "database": "database",
}
_ANNOUNCEMENTS: dict[Auth, str] = {
    "password": "database connection: password authentication",
    "managed_identity": "database connection: Azure managed identity",
    "aws_iam": "database connection: AWS IAM authentication",
}

log = logging.getLogger("tegata_credentials")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a name for programs, and a sentence with the cure for a person."""

    name: str
    says: str


class SettingsError(CredentialError):
    """The settings cannot be used; `problems` names each one with its cure, and never a value."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(problem.says for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """One database and one way to log in. `from_environment` is the usual way to get one."""

    host: str
    port: int
    user: str
    database: str
    auth: Auth
    password: str | None = field(default=None, repr=False)
    options: tuple[tuple[str, str], ...] = ()  # what stood behind the `?` of the URL
    azure_client_id: str | None = None
    aws_region: str | None = None
    pool_size: int = 5
    max_overflow: int = 10
    pool_recycle: int = 1800
    pool_pre_ping: bool = True

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> DatabaseSettings:
        """Read the settings. Raises `SettingsError` that lists everything wrong at once."""
        problems: list[Problem] = []
        auth = _read_auth(environ, problems)
        pool = {name: _read_number(environ, variable, problems, *bounds) for name, variable, *bounds in _NUMBERS}
        pre_ping = _read_switch(environ, "DB_POOL_PRE_PING", problems)
        place = _read_url(environ.get("DATABASE_URL", "").strip(), auth, problems)
        if problems or place is None:
            raise SettingsError(problems)
        return cls(
            **place,
            **{name: number for name, number in pool.items() if number is not None},
            auth=auth,
            azure_client_id=environ.get("AZURE_CLIENT_ID", "").strip() or None,
            aws_region=(environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "").strip() or None,
            pool_pre_ping=True if pre_ping is None else pre_ping,
        )

    def url(self, driver: str | None = None) -> str:
        """Return the address without a password, for example with `driver="asyncpg"` for SQLAlchemy."""
        scheme = "postgresql" if driver is None else f"postgresql+{driver}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        options = dict(self.options)
        if self.host.startswith("/"):
            host, options = "", {"host": self.host, **options}
        query = f"?{urlencode(options, quote_via=quote)}" if options else ""
        return f"{scheme}://{quote(self.user, safe='')}@{host}:{self.port}/{quote(self.database, safe='')}{query}"

    def password_source(self) -> PasswordSource:
        """Make what asyncio drivers ask for a password at each connection. Close it with the pool that uses it."""
        from tegata_credentials.database import FixedPassword
        from tegata_credentials.tokens import TokenSource

        self._announce()
        if self.auth == "password":
            return FixedPassword(self.password or "")
        return TokenSource(Logged(self.token_provider(), self), auth_method=self.auth)

    def sync_password_source(self) -> SyncPasswordSource:
        """Make the same for drivers and scripts without an event loop."""
        from tegata_credentials.database import SyncFixedPassword
        from tegata_credentials.tokens import SyncTokenSource

        self._announce()
        if self.auth == "password":
            return SyncFixedPassword(self.password or "")
        return SyncTokenSource(SyncLogged(self.sync_token_provider(), self), auth_method=self.auth)

    def create_async_engine(self, password: PasswordSource | None = None, **options: Any) -> AsyncEngine:
        """Make a SQLAlchemy engine on asyncpg with the pool's settings; `options` go before them."""
        from tegata_credentials.sqlalchemy import create_async_engine

        return create_async_engine(
            self.url("asyncpg"), password=password or self.password_source(), **{**self._pool(), **options}
        )

    def create_engine(self, password: SyncPasswordSource | None = None, **options: Any) -> Engine:
        """Make a SQLAlchemy engine on psycopg, for code without an event loop."""
        from tegata_credentials.sqlalchemy import create_engine

        return create_engine(
            self.url("psycopg"), password=password or self.sync_password_source(), **{**self._pool(), **options}
        )

    def _pool(self) -> dict[str, Any]:
        return {
            "pool_size": self.pool_size,
            "max_overflow": self.max_overflow,
            "pool_recycle": self.pool_recycle,
            "pool_pre_ping": self.pool_pre_ping,
            "pool_timeout": 30,
        }

    def _announce(self) -> None:
        log.info(_ANNOUNCEMENTS[self.auth], extra={"auth_method": self.auth, "username": self.user, "host": self.host})

    def token_provider(self) -> TokenProvider:
        """Make what fetches tokens for this database; with the method `password` there is none."""
        if self.auth == "aws_iam":
            from tegata_credentials.aws import RdsIamTokens

            return RdsIamTokens(host=self.host, port=self.port, user=self.user, region=self.aws_region)
        from tegata_credentials.azure import managed_identity

        return managed_identity(self.azure_client_id)

    def sync_token_provider(self) -> SyncTokenProvider:
        """Make the same for code without an event loop."""
        if self.auth == "aws_iam":
            from tegata_credentials.aws import SyncRdsIamTokens

            return SyncRdsIamTokens(host=self.host, port=self.port, user=self.user, region=self.aws_region)
        from tegata_credentials.azure import sync_managed_identity

        return sync_managed_identity(self.azure_client_id)


class Logged:
    """A token provider that says when a token came, for whom and for which host, and never the token."""

    def __init__(self, provider: TokenProvider, settings: DatabaseSettings) -> None:
        self._provider = provider
        self._said = _Said(settings)

    async def fetch(self) -> Token:
        """Fetch, and log the outcome. Raises what the provider raises."""
        try:
            token = await self._provider.fetch()
        except CredentialError as error:
            self._said.failed(error)
            raise
        self._said.acquired(token)
        return token

    async def discard(self) -> None:
        """Forget what the provider keeps."""
        await self._provider.discard()

    async def close(self) -> None:
        """Close the provider."""
        await self._provider.close()


class SyncLogged:
    """The same without an event loop."""

    def __init__(self, provider: SyncTokenProvider, settings: DatabaseSettings) -> None:
        self._provider = provider
        self._said = _Said(settings)

    def fetch(self) -> Token:
        """Fetch, and log the outcome. Raises what the provider raises."""
        try:
            token = self._provider.fetch()
        except CredentialError as error:
            self._said.failed(error)
            raise
        self._said.acquired(token)
        return token

    def discard(self) -> None:
        """Forget what the provider keeps."""
        self._provider.discard()

    def close(self) -> None:
        """Close the provider."""
        self._provider.close()


class _Said:
    """The two lines about a token. Only names and times go into them."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._what = {"managed_identity": "managed identity token", "aws_iam": "AWS IAM token"}[settings.auth]
        self._where = {"username": settings.user, "host": settings.host, "auth_method": settings.auth}

    def acquired(self, token: Token) -> None:
        log.info("%s acquired", self._what, extra={**self._where, "expires_at": token.expires_at})

    def failed(self, error: CredentialError) -> None:
        # The reason alone: the text of a vendor's exception may quote an answer that held a token.
        reason = getattr(error, "reason", None) or type(error).__name__
        log.error("%s failed", self._what, extra={**self._where, "reason": str(reason)})


# Field, variable, least and most.
_NUMBERS = (
    ("pool_size", "DB_POOL_SIZE", 1, 1000),
    ("max_overflow", "DB_MAX_OVERFLOW", 0, 1000),
    ("pool_recycle", "DB_POOL_RECYCLE", -1, 7 * 86_400),
)


def _read_auth(environ: Mapping[str, str], problems: list[Problem]) -> Auth:
    chosen = environ.get("DATABASE_AUTH", "").strip().lower()
    managed = _read_switch(environ, "USE_MANAGED_IDENTITY", problems)
    auth: Auth | None = next((method for method in METHODS if method == chosen), None)
    if chosen and auth is None:
        says = f"DATABASE_AUTH is none of {', '.join(METHODS)}: choose one of them"
        problems.append(Problem("auth_unknown", says))
    if auth is not None and managed is not None and managed != (auth == "managed_identity"):
        says = "DATABASE_AUTH and USE_MANAGED_IDENTITY contradict each other: remove USE_MANAGED_IDENTITY"
        problems.append(Problem("auth_contradicts", says))
    return auth or ("managed_identity" if managed else "password")


def _read_switch(environ: Mapping[str, str], name: str, problems: list[Problem]) -> bool | None:
    text = environ.get(name, "").strip().lower()
    if text and text not in _WORDS:
        problems.append(Problem("no_switch", f"{name} is neither true nor false: write one of them"))
    return _WORDS.get(text)


def _read_number(environ: Mapping[str, str], name: str, problems: list[Problem], least: int, most: int) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    number = int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else least - 1
    if not least <= number <= most:
        says = f"{name} is no whole number from {least} to {most}: correct or remove it"
        problems.append(Problem("no_number", says))
        return None
    return number


def _read_url(text: str, auth: Auth, problems: list[Problem]) -> dict[str, Any] | None:
    """Take the URL apart; None, and a problem in the list, if it cannot be read."""
    if not text:
        says = "DATABASE_URL is not set: give postgresql://USER@HOST/DATABASE; there is no default"
        problems.append(Problem("no_url", says))
        return None
    try:
        place = _take_apart(text)
    except ValueError:
        place = None
    if place is None:
        says = "DATABASE_URL cannot be read: write postgresql://USER@HOST:PORT/DATABASE, and special characters as %XX"
        problems.append(Problem("url_unreadable", says))
        return None
    problems += _judge(place, auth)
    return place


def _take_apart(text: str) -> dict[str, Any] | None:
    parts = urlsplit(text)
    login, _, address = parts.netloc.rpartition("@")
    place = _ADDRESS.fullmatch(address)
    pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    options = dict(pairs)
    scheme = parts.scheme.partition("+")[0]
    if scheme not in _SCHEMES or place is None or parts.fragment or len(options) != len(pairs) or "@" in login:
        return None
    user, _, password = login.partition(":")
    written = {
        "host": unquote(place["host"].strip("[]")),
        "port": place["port"] or "",
        "user": unquote(user),
        "password": unquote(password),
        "database": unquote(parts.path.removeprefix("/")),
    }
    for alias, name in _ALIASES.items():
        given = options.pop(alias, "")
        if given and written[name]:
            return None  # two places that say it: nobody can tell which one is meant
        written[name] = written[name] or given
    return {
        **written,
        "database": written["database"] or written["user"],
        "password": written["password"] or None,
        "port": int(written["port"] or 5432),
        "options": tuple(options.items()),
    }


def _judge(place: Mapping[str, Any], auth: Auth) -> Iterator[Problem]:
    """Find what does not go with the method."""
    if not place["user"] or not place["host"]:
        says = "DATABASE_URL names no user or no host: write postgresql://USER@HOST/DATABASE"
        yield Problem("url_incomplete", says)
    if auth != "password" and place["password"]:
        says = (
            f"DATABASE_URL holds a password, but the method is {auth}: remove the password from the URL, and change it "
            "in the database if it was ever used"
        )
        yield Problem("password_in_url", says)
    if auth != "password" and "," in place["host"]:
        says = "DATABASE_URL names several hosts, and a token is for one: write one URL for each"
        yield Problem("several_hosts", says)
    needs_password = not place["host"].startswith("/") and "sslcert" not in dict(place["options"])
    if auth == "password" and not place["password"] and needs_password:
        says = (
            "DATABASE_URL holds no password, but the method is password: set DATABASE_AUTH to managed_identity or "
            "aws_iam, or write the password into the URL"
        )
        yield Problem("password_missing", says)
