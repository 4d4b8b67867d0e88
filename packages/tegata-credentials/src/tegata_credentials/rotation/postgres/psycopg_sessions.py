"""Sessions over psycopg: verified TLS, short limits, and no password in any error.

TLS is verify-full, except to a loopback address or a Unix socket; `tegata_credentials.tls` has the rules. The server
must ask for the password by SCRAM or MD5: one that lets anybody in proves nothing about a password.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

from tegata_credentials.errors import missing_extra
from tegata_credentials.psycopg import is_rejection
from tegata_credentials.redaction import without_frames
from tegata_credentials.rotation.errors import DatabaseConnectionError
from tegata_credentials.rotation.postgres.secret import Login, Place
from tegata_credentials.rotation.postgres.sessions import LoginRefused, Session, StatementFailed
from tegata_credentials.tls import is_local, libpq_options
from tegata_credentials.token_state import HiddenText

try:
    import psycopg
except ImportError as error:
    raise missing_extra("psycopg", "psycopg") from error

_REQUIRE_AUTH_SINCE = 160000  # version of libpq
_LONGEST_TEXT = 300


@dataclass(frozen=True, slots=True)
class PsycopgSessions:
    """Opens sessions with psycopg. Times are seconds.

    `sslrootcert` is the file of root certificates, for RDS the bundle of Amazon's; it goes before that of the secret,
    which is a path on the machines that read it.

    Example:

        >>> PsycopgSessions(connect_timeout=3).connect_timeout
        3
    """

    sslrootcert: str | None = None
    connect_timeout: int = 5
    statement_timeout: float = 10.0
    lock_timeout: float = 3.0
    application_name: str = "tegata-rotation"
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def open(self, login: Login, place: Place) -> Session:
        """Log in; see `Sessions.open`. Raises `CredentialError` too, if the TLS files cannot be used."""
        environ = {name: value for name, value in self.environ.items() if name != "PGHOSTADDR" or is_local(place.host)}
        # What the secret names counts: a variable that leads to this machine makes no other machine a local one.
        options = libpq_options(self._options(login, place), environ, allow_unverified=False)
        try:
            connection = psycopg.connect(**options, password=str(login.password))
        except psycopg.Error as error:
            # The driver's error holds the connection, and that the password: only its text goes on.
            failure = _failure(error, login, place)
        except BaseException as error:  # noqa: BLE001 - none may carry the driver's frames
            raise without_frames(error)  # noqa: B904 - it is the same error
        else:
            return self._ready(connection, place)
        raise failure

    def _options(self, login: Login, place: Place) -> dict[str, Any]:
        milliseconds = round(self.statement_timeout * 1000)
        options: dict[str, Any] = {
            "host": place.host,
            "port": place.port,
            "dbname": place.dbname,
            "user": login.username,
            "connect_timeout": self.connect_timeout,
            "application_name": self.application_name,
            "sslrootcert": self.sslrootcert or place.sslrootcert,
            # A server that has vanished is noticed about when a slow one is given up.
            "tcp_user_timeout": milliseconds,
            "keepalives_idle": max(1, round(self.statement_timeout / 2)),
            "keepalives_interval": 1,
            "keepalives_count": 3,
        }
        if psycopg.pq.version() >= _REQUIRE_AUTH_SINCE:
            options["require_auth"] = "scram-sha-256,md5"
        return {name: value for name, value in options.items() if value is not None}

    def _ready(self, connection: psycopg.Connection[Any], place: Place) -> Session:
        session = _PsycopgSession(connection, place, 2 * self.statement_timeout)
        try:
            if not connection.pgconn.used_password:
                raise DatabaseConnectionError(f"{_where(place)} lets in without asking for the password")
            # After the login and not in it: poolers know no such options.
            session.execute(
                "select pg_catalog.set_config('statement_timeout', %s, false), "
                "pg_catalog.set_config('lock_timeout', %s, false), "
                "pg_catalog.set_config('idle_in_transaction_session_timeout', %s, false)",
                *(str(round(seconds * 1000)) for seconds in self._limits()),
            )
            session.commit()
        except BaseException:
            session.close()
            raise
        return session

    def _limits(self) -> tuple[float, float, float]:
        return self.statement_timeout, self.lock_timeout, 2 * self.statement_timeout


class _PsycopgSession:
    def __init__(self, connection: psycopg.Connection[Any], place: Place, patience: float) -> None:
        self._connection = connection
        self._place = place
        self._patience = patience

    def execute(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        try:
            with self._bounded():
                cursor = self._connection.execute(cast("Any", statement), values or None)
                return cursor.fetchall() if cursor.description is not None else []
        except psycopg.Error as error:
            failure = self._explain(error)
        raise failure

    def verifier(self, login: Login) -> HiddenText:
        made = self._connection.pgconn.encrypt_password(
            login.password.encode(), login.username.encode(), b"scram-sha-256"
        )
        return HiddenText(made.decode())

    def commit(self) -> None:
        try:
            with self._bounded():
                self._connection.commit()
        except psycopg.Error as error:
            failure = self._explain(error)
        else:
            return
        raise failure

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Hang up on a server that has stopped to answer: it keeps no time itself, and its machine goes on as ever."""
        alarm = threading.Timer(self._patience, _hang_up, (self._connection,))
        alarm.daemon = True
        alarm.start()
        try:
            yield
        finally:
            alarm.cancel()
            alarm.join()  # or it could meet another connection under the same number

    def _explain(self, error: psycopg.Error) -> DatabaseConnectionError | StatementFailed:
        if error.sqlstate is None or self._connection.closed:
            return DatabaseConnectionError(f"the connection to {_where(self._place)} broke")
        return StatementFailed(error.sqlstate, f"a statement failed at {_where(self._place)}")


def _hang_up(connection: psycopg.Connection[Any]) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)


def _failure(error: psycopg.Error, login: Login, place: Place) -> DatabaseConnectionError:
    if is_rejection(error):
        return LoginRefused(f"{_where(place)} refuses the password of {login.username}")
    # Some of it is the server's, and what it sends to a terminal or a log is not trusted before the login is.
    text = " ".join(str(error).split()).replace(login.password, "***")
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return DatabaseConnectionError(f"no connection to {_where(place)}: {text[:_LONGEST_TEXT]}")


def _where(place: Place) -> str:
    return f"{place.host}:{place.port}/{place.dbname}"
