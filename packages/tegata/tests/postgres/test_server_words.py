"""What a server says may be anything: it steers no terminal, and gives back no token that it was sent."""

from __future__ import annotations

import asyncpg
import psycopg
from hypothesis import given
from hypothesis import strategies as st

from tegata.cli.failures import explain
from tegata.postgres.errors import as_storage_error
from tegata.postgres.server_words import told

TOKEN = "eyJhbGciOiJSUzI1NiJ9." + "eyJzdWIiOiJ0ZWdhdGEifQ" * 5 + ".c2lnbmF0dXJl"
HOSTILE = f'no entry\x1b]0;owned\x07 for user "a", token {TOKEN}'


def test_a_refused_login_repeats_neither_escapes_nor_tokens() -> None:
    refused = asyncpg.InvalidAuthorizationSpecificationError(HOSTILE)
    refused.sqlstate = "28000"
    for text in (str(as_storage_error(refused)), str(explain(psycopg.OperationalError(HOSTILE)))):
        assert 'for user "a", token' in text
        assert text.isprintable()
        assert TOKEN[:40] not in text
        assert TOKEN[-40:] not in text


def test_postgresql_s_own_words_stay_as_they_are() -> None:
    words = 'no pg_hba.conf entry for host "2001:db8::1", user "tegata_app", database "tegata", SSL encryption'
    assert told(words) == words


@given(st.text())
def test_a_line_is_a_line(text: str) -> None:
    assert told(text).isprintable()
