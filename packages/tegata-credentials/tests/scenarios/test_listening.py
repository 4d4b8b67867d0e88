"""The listener of the other scenarios would hear a token, wherever it were said."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from tegata_credentials.testing import SYSTEM_ASSIGNED, Laboratory

log = logging.getLogger("somewhere")


def raise_it(token: str) -> None:
    try:
        raise ValueError(token)
    except ValueError:
        log.debug("failed", exc_info=True)


SAID: dict[str, Callable[[str], Any]] = {
    "in a message": lambda token: log.debug("got %s", token),
    "in a field of a record": lambda token: log.debug("got it", extra={"token": token}),
    "in the traceback of a record": raise_it,
    "by structlog": lambda token: structlog.get_logger().info("got it", token=token),
    "printed": lambda token: print(token, file=sys.stderr),
    "in a warning": lambda token: warnings.warn(ResourceWarning(token), stacklevel=2),
    "cut": lambda token: log.debug("got %.30s...", token),
}


@pytest.fixture
def overheard() -> None:
    """Nobody else listens here: the tokens are said on purpose."""


@pytest.mark.parametrize("say", SAID.values(), ids=SAID)
def test_a_token_that_is_said_is_heard(say: Callable[[str], Any], lab: Laboratory, new_overheard: Any) -> None:
    token = lab.issuer.issue(SYSTEM_ASSIGNED).value
    with pytest.raises(AssertionError, match="a token was logged"), new_overheard().listening(lab):
        say(token)


def test_an_exception_that_shows_a_token_is_heard(lab: Laboratory, new_overheard: Any) -> None:
    token = lab.issuer.issue(SYSTEM_ASSIGNED).value
    with pytest.raises(AssertionError, match="a token was logged"), new_overheard().listening(lab) as listener:
        listener.caught(RuntimeError("outer", token))


def test_innocent_talk_is_not_complained_about(lab: Laboratory, new_overheard: Any) -> None:
    lab.issuer.issue(SYSTEM_ASSIGNED)
    with new_overheard().listening(lab):
        log.debug("token obtained", extra={"life_seconds": 3600})
