"""A change of a password that fails is taken back at once, lock and all, and says why it failed and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tegata_credentials.rotation.errors import DatabaseConnectionError, PasswordUpdateError, RotationBusy
from tegata_credentials.rotation.postgres import Login, Session, StatementFailed
from tegata_credentials.rotation.postgres.change import change_password
from tegata_credentials.rotation.postgres.sessions import update_error
from tegata_credentials.token_state import HiddenText

LOGIN = Login("app_a", HiddenText("taken-back-0123456789"))
VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"
GONE = DatabaseConnectionError("the connection is gone")
ANSWERS = {"pg_try_advisory_xact_lock": [(True, "rotator")], "rolcanlogin": [(True, False, 16384)]}


class Recorded(Session):
    """A session in which the lock is free and the role in order; it fails at what holds one of the given words."""

    def __init__(self, failures: dict[str, Exception]) -> None:
        self.failures = failures
        self.statements: list[str] = []

    def execute(self, statement: str, *_: object) -> Sequence[tuple[Any, ...]]:
        self.statements.append(statement)
        for word, failure in self.failures.items():
            if word in statement:
                raise failure
        return next((rows for word, rows in ANSWERS.items() if word in statement), [])

    def verifier(self, login: Login) -> HiddenText:
        return HiddenText(VERIFIER)

    def commit(self) -> None:
        self.execute("commit")

    def close(self) -> None:
        self.statements.append("close")


def nothing_against_it() -> None:
    pass


def failure_of(session: Recorded, recheck: Callable[[], None] = nothing_against_it) -> Exception:
    with pytest.raises(Exception) as failed:  # noqa: PT011 - each test says which
        change_password(session, "arn:of:a:secret", LOGIN, recheck)
    assert any("pg_try_advisory_xact_lock" in statement for statement in session.statements)
    return failed.value


def test_a_change_that_succeeds_ends_with_its_commit():
    session = Recorded({})
    change_password(session, "arn:of:a:secret", LOGIN, nothing_against_it)
    assert session.statements[-2:] == [f"alter role \"app_a\" password '{VERIFIER}'", "commit"]


@pytest.mark.parametrize("word", ["rolcanlogin", "alter role", "commit"])
def test_a_change_during_which_the_connection_fails_is_taken_back(word):
    session = Recorded({word: GONE})
    assert failure_of(session) is GONE
    assert session.statements[-1] == "rollback"


def test_a_statement_that_fails_is_taken_back_and_told_as_what_it_means():
    refused = StatementFailed("42501", "the password could not be set")
    session = Recorded({"alter role": refused})
    failure = failure_of(session)
    assert (type(failure), str(failure)) == (PasswordUpdateError, str(update_error(refused)))
    assert session.statements[-1] == "rollback"


def test_a_change_that_is_not_to_be_done_any_more_is_taken_back():
    other = RotationBusy("the label has been moved")

    def recheck() -> None:
        raise other

    session = Recorded({})
    assert failure_of(session, recheck) is other
    assert session.statements[-1] == "rollback"


@pytest.mark.parametrize(
    "second", [DatabaseConnectionError("gone while it was taken back"), StatementFailed("25P02", "not taken back")]
)
def test_if_it_cannot_be_taken_back_the_first_failure_is_told(second):
    session = Recorded({"alter role": GONE, "rollback": second})
    assert failure_of(session) is GONE
    assert session.statements[-1] == "rollback"
