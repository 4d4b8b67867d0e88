"""Counting errors by class: a server that answers anything at all makes no series without end."""

from __future__ import annotations

import asyncpg

from tegata.postgres.tally import Tally


def refused(state: str) -> asyncpg.PostgresError:
    error = asyncpg.PostgresError("as the server likes")
    error.sqlstate = state
    return error


def test_errors_are_counted_by_the_class_of_their_state() -> None:
    tally = Tally()
    for state in ("28P01", "28000", "57014"):
        tally.count(refused(state))
    tally.count(TimeoutError())
    assert tally.errors == {"28": 2, "57": 1, "connection": 1}


def test_a_server_cannot_make_series_without_end() -> None:
    tally = Tally()
    for number in range(0x4E00, 0x6000):
        tally.count(refused(chr(number) + '"}'))
        tally.count(refused(f"{number:05X}"[::-1]))
    assert len(tally.errors) <= 100
    assert all(name.isascii() and name.isalnum() for name in tally.errors)
    assert sum(tally.errors.values()) == 2 * (0x6000 - 0x4E00)
