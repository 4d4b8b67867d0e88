"""Where a PostgreSQL database is and as whom to enter it, in one value both drivers understand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tegata.protocol.redirect_uris import is_loopback

if TYPE_CHECKING:
    from tegata_credentials.database import PasswordSource, SyncPasswordSource

# What asyncpg reads from the query part of a DSN under libpq's own names. Everything else it would send to the
# server as a setting, so libpq's client-side options (keepalives, gssencmode, ...) are left out for it.
_ASYNCPG_OPTIONS = frozenset(
    {
        "application_name",
        "krbsrvname",
        "passfile",
        "service",
        "servicefile",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "target_session_attrs",
    }
)


def connection_options(url: str) -> dict[str, str]:
    """Read a libpq URI or key=value string into libpq's own names. Raises `ValueError` without repeating the text."""
    scheme, separator, rest = url.partition("://")
    plain = f"{scheme.partition('+')[0]}://{rest}" if separator else url
    try:
        return {name: str(value) for name, value in conninfo_to_dict(plain).items() if value is not None}
    except ProgrammingError:
        raise ValueError("the database URL is not a PostgreSQL connection string") from None


class Passwords(Protocol):
    """Where logins get their current passwords; asked at every new session."""

    @property
    def auth_method(self) -> str:
        """What /health/db says."""

    @property
    def allow_unverified_tls(self) -> bool:
        """Whether the operator has said that a token may travel without sslmode=verify-full."""

    def source(self, host: str, port: int, user: str) -> PasswordSource:
        """Return the source for one login; the same object each time."""

    def sync_source(self, host: str, port: int, user: str) -> SyncPasswordSource:
        """Return the same for psycopg."""

    async def close(self) -> None:
        """Forget what is known and give back what is held; a source asked for later begins anew."""


@dataclass(frozen=True, slots=True)
class ConnectionTarget:
    """One way into one database.

    `host` is a name, an address, or the directory of a Unix socket. `role` is set right after login, in the
    start-up packet, so that every statement of the session runs as that role. `passwords` stand in for `password`.
    `transaction_pooler`: between us and the server is a PgBouncer that gives a server's session to one transaction
    at a time, so nothing of a session may be relied upon: no settings, no prepared statements, no LISTEN.
    """

    host: str
    user: str
    database: str
    port: int = 5432
    password: str | None = field(default=None, repr=False)
    role: str | None = None
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    passwords: Passwords | None = field(default=None, repr=False, compare=False)
    transaction_pooler: bool = False

    @property
    def auth_method(self) -> str:
        """How a login proves who it is."""
        return "password" if self.passwords is None else self.passwords.auth_method

    @property
    def is_local(self) -> bool:
        """Whether what is sent stays on this machine: a Unix socket, or a loopback address."""
        # libpq lets the query name another host, or an address beside it; a service file may do the same.
        options = dict(self.options)
        hosts = (self.host, options.get("hostaddr", self.host))
        return "service" not in options and all(host.startswith("/") or is_loopback(host) for host in hosts)

    @classmethod
    def from_url(cls, url: str, *, role: str | None = None) -> ConnectionTarget:
        """Read a libpq URI or key=value string; `postgresql+driver://` of SQLAlchemy is understood too.

        Raises `ValueError` without repeating the text, because it may hold a password.
        """
        found = connection_options(url)
        user = found.pop("user", "postgres")
        ports = found.pop("port", "") or "5432"
        try:
            port = int(ports)
        except ValueError:
            raise ValueError("the database URL needs exactly one numeric port") from None
        return cls(
            host=found.pop("host", "") or found.get("hostaddr", "localhost"),
            port=port,
            user=user,
            database=found.pop("dbname", user),
            password=found.pop("password", None),
            role=role,
            options=tuple(sorted(found.items())),
        )

    def entering_as(self, user: str) -> ConnectionTarget:
        """The same database, logged in as another user without a password (a trusted socket)."""
        return replace(self, user=user, password=None, role=None)

    def asking(self, passwords: Passwords | None) -> ConnectionTarget:
        """The same login, with its password from `passwords`."""
        return self if passwords is None else replace(self, password=None, passwords=passwords)

    def through_pooler(self) -> ConnectionTarget:
        """The same login, by way of a pooler in transaction mode. Raises `ValueError` if a role is to be taken."""
        if self.role is not None:
            raise ValueError("a transaction pooler passes no role on: log in as the role itself")
        return replace(self, transaction_pooler=True)

    def taking_role(self, role: str | None) -> ConnectionTarget:
        """The same login, with every statement run as `role`."""
        return replace(self, role=role)

    def in_database(self, database: str) -> ConnectionTarget:
        """The same server and login, another database."""
        return replace(self, database=database)

    def asyncpg_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `asyncpg.connect`; further `server_settings` may be added by the caller."""
        options = {name: value for name, value in self.options if name in _ASYNCPG_OPTIONS}
        settings = {"application_name": options.pop("application_name", "tegata")}
        if self.role is not None:
            settings["role"] = self.role
        arguments: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "database": self.database,
            "server_settings": settings,
        }
        if options:
            # The certificate options exist only in asyncpg's DSN; explicit arguments beside it win.
            arguments["dsn"] = "postgresql://?" + urlencode(options)
        if self.password is not None:
            arguments["password"] = self.password
        if self.transaction_pooler:
            # A statement that is prepared in one transaction may not be there in the next, or be somebody else's.
            # Without the cache asyncpg sends the text again together with each execution.
            arguments["statement_cache_size"] = 0
        return arguments

    def psycopg_conninfo(self) -> str:
        """A libpq connection string. It holds the password: never log it."""
        parts = dict(self.options)
        if self.role is not None:
            parts["options"] = f"{parts.get('options', '')} -c role={self.role}".strip()
        if self.password is not None:
            parts["password"] = self.password
        return make_conninfo("", host=self.host, port=self.port, user=self.user, dbname=self.database, **parts)
