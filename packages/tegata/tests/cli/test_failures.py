"""Errors become sentences and exit statuses."""

from __future__ import annotations

import importlib

import psycopg
import pytest

from tegata.cli.failures import _TOLD, UNAVAILABLE, USAGE, CommandFailure, explain
from tegata.flows.admin.problems import InvalidDocuments, Problem
from tegata.postgres.embedded import EmbeddedPostgresError
from tegata.settings import SettingsError
from tegata.storage.errors import Conflict, Unavailable


@pytest.mark.parametrize("name", sorted(_TOLD))
def test_every_error_that_is_told_exists(name: str) -> None:
    """They are named as text, so a renamed class would silently become a traceback."""
    module, _, kind = name.rpartition(".")
    found = getattr(importlib.import_module(module), kind)
    assert issubclass(found, BaseException)
    assert f"{found.__module__}.{found.__qualname__}" == name


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (SettingsError(["one", "two"]), USAGE, "one\ntwo"),
        (
            InvalidDocuments([Problem("f.yaml", 3, "Client a/b", ("spec", "x"), "is wrong")]),
            USAGE,
            "f.yaml:3: Client a/b",
        ),
        (EmbeddedPostgresError("no wheel"), UNAVAILABLE, "no wheel"),
        (Unavailable("gone"), UNAVAILABLE, "database cannot be used: gone"),
        (Conflict("client"), UNAVAILABLE, "run it again"),
        (psycopg.OperationalError("refused"), UNAVAILABLE, "refused"),
        (psycopg.errors.InsufficientPrivilege("no"), UNAVAILABLE, "may not do that"),
        (PermissionError(13, "Permission denied", "file"), UNAVAILABLE, "file: Permission denied"),
        (CommandFailure("said so", 1), 1, "said so"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_of_ordinary_life_are_explained(error: Exception, status: int, words: str) -> None:
    failure = explain(error)
    assert failure is not None
    assert failure.exit_code == status
    assert words in str(failure)


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    assert explain(KeyError("x")) is None
    assert explain(AssertionError()) is None
