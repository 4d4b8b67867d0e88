"""What every scenario gets: the cloud of App Service in the environment, and somebody who listens for tokens."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tegata_credentials.azure import LIMITS
from tegata_credentials.testing import Laboratory, text_of


class Overheard(logging.Handler):
    """Keeps all that is said: every log record at DEBUG with all its fields, printed text, warnings, exceptions."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.said = io.StringIO()
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.write(f"{record.getMessage()}\n{vars(record)!r}\n")
        if record.exc_info and record.exc_info[1] is not None:
            self.said.write(text_of(record.exc_info[1]) + "\n")

    def caught(self, error: BaseException) -> BaseException:
        """Keep an exception that the scenario expects."""
        self.errors.append(error)
        self.said.write(text_of(error) + "\n")
        return error

    @contextlib.contextmanager
    def listening(self, laboratory: Laboratory) -> Iterator[Overheard]:
        """Listen, and complain at the end if a token was heard."""
        root = logging.getLogger()
        level = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        try:
            with (
                warnings.catch_warnings(record=True) as warned,
                contextlib.redirect_stdout(self.said),
                contextlib.redirect_stderr(self.said),
            ):
                warnings.simplefilter("always")
                yield self
        finally:
            root.removeHandler(self)
            root.setLevel(level)
        self.said.write("\n".join(str(warning) for warning in warned))
        text = self.said.getvalue()
        # The text itself is not shown: a failing test must not publish what it found.
        assert laboratory.leaks_in(text) == [], "a token was logged, printed, warned about or raised"
        assert [str(warning) for warning in warned] == []


@pytest.fixture(scope="module")
def new_overheard() -> type[Overheard]:
    return Overheard


@pytest.fixture(autouse=True)
def overheard(laboratory: Laboratory) -> Iterator[Overheard]:
    with Overheard().listening(laboratory) as listener:
        yield listener


@pytest.fixture(autouse=True)
def azure(lab: Laboratory, clean_environment: pytest.MonkeyPatch) -> Any:
    """This process runs in App Service; an answer that comes is waited for, however busy the machine is."""
    clean_environment.setitem(LIMITS, "read_timeout", 60)
    for name, value in lab.app_service().items():
        clean_environment.setenv(name, value)
    return clean_environment
