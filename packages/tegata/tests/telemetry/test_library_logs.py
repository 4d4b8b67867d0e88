"""What libraries say with `logging` comes out as lines of our log, without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tegata.telemetry import logs
from tegata.telemetry.library_logs import pass_on

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkIn0.c2lnbmF0dXJlLXBhcnQ"
NAME = "tegata.tests.a_library"


@pytest.fixture(autouse=True)
def library() -> Iterator[logging.Logger]:
    logs.configure()
    logger = logging.getLogger(NAME)
    yield logger
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    structlog.reset_defaults()


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    said = capsys.readouterr()
    assert said.err == ""
    lines: list[dict[str, object]] = [json.loads(line) for line in said.out.splitlines()]
    for line in lines:
        del line["timestamp"]
    return lines


def test_a_warning_is_one_line_of_the_log(capsys: pytest.CaptureFixture[str], library: logging.Logger) -> None:
    pass_on(NAME)
    logging.getLogger(f"{NAME}.below").warning("two\nlines of %s", "text")
    library.info("not a warning")
    assert told(capsys) == [
        {"event": "library", "level": "warning", "source": f"{NAME}.below", "message": "two lines of text"}
    ]


def test_of_the_kit_what_stands_beside_the_message_is_told_too(
    capsys: pytest.CaptureFixture[str], library: logging.Logger
) -> None:
    pass_on(NAME, level=logging.INFO, fields=("reason", "auth_method"))
    library.info("no token obtained", extra={"reason": "unreachable", "auth_method": "aws_iam", "other": 1})
    library.debug("details")
    (line,) = told(capsys)
    assert line["level"] == "info"
    assert (line["reason"], line["auth_method"]) == ("unreachable", "aws_iam")
    assert "other" not in line


def test_a_secret_does_not_come_out(capsys: pytest.CaptureFixture[str], library: logging.Logger) -> None:
    pass_on(NAME, fields=("reason",))
    library.error("answered %s", JWT, extra={"reason": JWT}, exc_info=ValueError(JWT))
    said = capsys.readouterr()
    assert "answered" in said.out
    assert JWT not in said.out + said.err


def test_asked_for_twice_it_is_told_once(capsys: pytest.CaptureFixture[str], library: logging.Logger) -> None:
    pass_on(NAME)
    pass_on(NAME)
    library.warning("once")
    assert len(told(capsys)) == 1


def test_a_line_that_cannot_be_made_ends_nothing(capsys: pytest.CaptureFixture[str], library: logging.Logger) -> None:
    pass_on(NAME)
    (handler,) = library.handlers  # past pytest's own, which would raise
    handler.handle(logging.LogRecord(NAME, logging.WARNING, __file__, 1, "%d", ("no number",), None))
    (line,) = told(capsys)
    assert line["message"] == "%d"
