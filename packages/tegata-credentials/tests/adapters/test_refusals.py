"""How a refused login is told apart where libpq says no SQLSTATE: by what servers say, in English or not."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.errors import FinishedPGconn

from tegata_credentials.psycopg import is_rejection

PLACE = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '


def failed(text: str, *, used_password: bool = True) -> psycopg.OperationalError:
    return psycopg.OperationalError(PLACE + text, pgconn=FinishedPGconn(used_password=used_password))


@pytest.mark.parametrize(
    "text",
    [
        'FATAL:  password authentication failed for user "app"',
        'FATAL:  PAM authentication failed for user "app"',
        'FATAL:  LDAP authentication failed for user "app"',
        "FATAL:  The access token has expired. Acquire a new token and retry.",
        'FATAL:  ユーザー"app"のパスワード認証に失敗しました',
        "FATAL:  Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen",
        'FATAL:  role "app" is not permitted to log in',
    ],
)
def test_a_refusal(text):
    assert is_rejection(failed(text))


@pytest.mark.parametrize(
    "text",
    [
        'FATAL:  database "x" does not exist',
        "FATAL:  sorry, too many clients already",
        'FATAL:  too many connections for role "app"',
        "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        'FATAL:  permission denied for database "x"',
        "FATAL:  the database system is starting up",
        "FATAL:  the database system is shutting down",
        "FATAL:  terminating connection due to administrator command",
        "FATAL:  canceling authentication due to timeout",
        'FATAL:  unrecognized configuration parameter "x.y.z"',
        "FATAL:  no more connections allowed (max_client_conn)",
        "server closed the connection unexpectedly",
    ],
)
def test_no_refusal(text):
    assert not is_rejection(failed(text))


def test_a_server_that_never_asked_for_the_password_has_not_refused_it():
    assert not is_rejection(failed("Verbindungsaufbau abgelehnt", used_password=False))


def test_one_host_of_several_has_refused():
    text = (
        "Connection refused\nMultiple connection attempts failed. All failures were:\n"
        '- host: a: FATAL:  password authentication failed for user "app"\n- host: b: Connection refused'
    )
    assert is_rejection(failed(text, used_password=False))


def test_an_error_with_a_sqlstate_is_judged_by_that():
    assert is_rejection(psycopg.errors.InvalidPassword("x"))
    assert is_rejection(psycopg.errors.InvalidAuthorizationSpecification("x"))
    assert not is_rejection(psycopg.errors.TooManyConnections("password authentication failed"))
