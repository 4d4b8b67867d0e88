"""Which database, and how to log in to it, read from environment variables; contradictions are refused with the cure.

`DATABASE_AUTH` chooses the method; `USE_MANAGED_IDENTITY=true` is another word for `managed_identity`. A URL holds no
password unless the method is `password`. Nothing has a default that could reach a database by accident. No message
repeats a value: it may be a password in the wrong place.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from tegata_credentials.environment import Auth, Problem, SettingsError, is_named_by_rds, read_environment
from tegata_credentials.errors import IdentityUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tegata_credentials.database import PasswordSource, SyncPasswordSource
    from tegata_credentials.tokens import SyncTokenProvider, Token, TokenProvider

_ANNOUNCEMENTS: dict[Auth, str] = {
    "password": "database connection: password authentication",
    "managed_identity": "database connection: Azure managed identity",
    "aws_iam": "database connection: AWS IAM authentication",
}

__all__ = ["Auth", "DatabaseSettings", "Problem", "SettingsError"]

log = logging.getLogger("tegata_credentials")


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """One database and one way to log in. `from_environment` is the usual way to get one."""

    host: str
    port: int
    user: str
    database: str
    auth: Auth
    password: str | None = field(default=None, repr=False)
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # what stood behind the `?` of the URL
    azure_client_id: str | None = None
    uses_default_credential: bool = False
    aws_region: str | None = None
    rds_endpoint: str | None = None
    pool_size: int = 5
    max_overflow: int = 10
    pool_recycle: int = 1800
    pool_pre_ping: bool = True

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> DatabaseSettings:
        """Read the settings. Raises `SettingsError` that lists everything wrong at once."""
        return cls(**read_environment(environ))

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
        from tegata_credentials.sync_tokens import SyncTokenSource

        self._announce()
        if self.auth == "password":
            return SyncFixedPassword(self.password or "")
        return SyncTokenSource(SyncLogged(self.sync_token_provider(), self), auth_method=self.auth)

    @asynccontextmanager
    async def open_async_engine(self, **options: Any) -> AsyncIterator[AsyncEngine]:
        """Make an engine for the life of a program; its connections and the password source are closed at the end."""
        password = self.password_source()
        try:
            engine = self.create_async_engine(password, **options)
            try:
                yield engine
            finally:
                await engine.dispose()
        finally:
            await password.close()

    def create_async_engine(self, password: PasswordSource | None = None, **options: Any) -> AsyncEngine:
        """Make a SQLAlchemy engine on asyncpg with the pool's settings; `options` go before them."""
        from tegata_credentials.sqlalchemy import create_async_engine

        return create_async_engine(
            self.url("asyncpg"), password=password or self.password_source(), **self._pool(options)
        )

    def create_engine(self, password: SyncPasswordSource | None = None, **options: Any) -> Engine:
        """Make a SQLAlchemy engine on psycopg, for code without an event loop."""
        from tegata_credentials.sqlalchemy import create_engine

        return create_engine(
            self.url("psycopg"), password=password or self.sync_password_source(), **self._pool(options)
        )

    def _pool(self, options: dict[str, Any]) -> dict[str, Any]:
        if "poolclass" in options:
            return options  # another pool has other options: NullPool has no size
        return {
            "pool_size": self.pool_size,
            "max_overflow": self.max_overflow,
            "pool_recycle": self.pool_recycle,
            "pool_pre_ping": self.pool_pre_ping,
            "pool_timeout": 30,
            **options,
        }

    def _announce(self) -> None:
        log.info(_ANNOUNCEMENTS[self.auth], extra={"auth_method": self.auth, "username": self.user, "host": self.host})

    def token_provider(self) -> TokenProvider:
        """Make what fetches tokens for this database; with the method `password` there is none."""
        if self.auth == "aws_iam":
            from tegata_credentials.aws import RdsIamTokens

            return RdsIamTokens(host=self.host, port=self.port, user=self.user, **self._signing())
        from tegata_credentials.azure import default_credential, managed_identity

        if self.uses_default_credential:
            return default_credential(**self._developer())
        return managed_identity(self.azure_client_id)

    def sync_token_provider(self) -> SyncTokenProvider:
        """Make the same for code without an event loop."""
        if self.auth == "aws_iam":
            from tegata_credentials.aws import SyncRdsIamTokens

            return SyncRdsIamTokens(host=self.host, port=self.port, user=self.user, **self._signing())
        from tegata_credentials.azure import sync_default_credential, sync_managed_identity

        if self.uses_default_credential:
            return sync_default_credential(**self._developer())
        return sync_managed_identity(self.azure_client_id)

    def _signing(self) -> dict[str, Any]:
        # The region of the process (Lambda and ECS set AWS_REGION) may be another one than the database's, which
        # stands in the name that RDS gives.
        is_shown = is_named_by_rds(self.rds_endpoint or self.host)
        return {"region": None if is_shown else self.aws_region, "sign_for_host": self.rds_endpoint}

    def _developer(self) -> dict[str, Any]:
        return {"managed_identity_client_id": self.azure_client_id} if self.azure_client_id else {}


class Logged:
    """A token provider that says when a token came, for whom and for which host, and never the token."""

    def __init__(self, provider: TokenProvider, settings: DatabaseSettings) -> None:
        self._provider = provider
        self._said = _Said(settings)

    async def fetch(self) -> Token:
        """Fetch, and log the outcome. Raises what the provider raises."""
        try:
            token = await self._provider.fetch()
        except BaseException as error:
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
        except BaseException as error:
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

    def failed(self, error: BaseException) -> None:
        # The reason alone: the text of a vendor's exception may quote an answer that held a token.
        reason = error.reason if isinstance(error, IdentityUnavailable) else type(error).__name__
        log.error("%s failed", self._what, extra={**self._where, "reason": reason})
