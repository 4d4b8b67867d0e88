"""What the kit tells about itself: figures and an audit line for each access and change. Never a value."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Protocol, TextIO, runtime_checkable

Unit = Literal["Count", "Milliseconds", "Seconds"]
_audit = logging.getLogger("tegata_credentials.audit")
_WORD = re.compile(r"[\w.:/+@#-]+", re.ASCII)


class Observer(Protocol):
    """Is told what happens. Called from any thread; must not raise and must not wait."""

    def metric(self, name: str, value: float = 1, unit: Unit = "Count", **dimensions: str) -> None:
        """Add to a figure, e.g. `metric("SecretFetchSucceeded", source="awssm")`."""

    def audit(self, action: str, **facts: str) -> None:
        """Write down who did what to which version, e.g. `audit("secret.read", secret=..., version=...)`."""


class NoObserver:
    """Tells nobody.

    >>> NoObserver().metric("SecretFetchSucceeded", source="awssm")
    """

    def metric(self, name: str, value: float = 1, unit: Unit = "Count", **dimensions: str) -> None:
        """Do nothing."""

    def audit(self, action: str, **facts: str) -> None:
        """Do nothing."""


CALLS = "SecretStoreCalls"
"""Requests that went to the store of secrets, each retry counted (Count); what AWS counts and bills."""


READ = "secret.read"
"""`secret`, `version`, `stage`, `source`."""
READ_FAILED = "secret.read_failed"
"""`secret`, `reason`, `stage`, `source`."""


@runtime_checkable
class CountsRequests(Protocol):
    """A store that is reached over a network and knows how often it was asked."""

    def take_requests(self) -> int:
        """Return how many requests this thread has sent since it last asked, each retry counted."""


class LoggedAudit(NoObserver):
    """Writes audit lines to the logger `tegata_credentials.audit`; counts nothing.

    >>> LoggedAudit().audit("secret.read", secret="shop-prod-secret-jwt", version="v1")  # to the log, at INFO
    """

    def audit(self, action: str, **facts: str) -> None:
        """Write one line of `name=value`."""
        _audit.info("%s %s", action, _line(facts))


class WrittenAudit(NoObserver):
    """Writes audit lines to a stream, standard error if none is given, for commands that set up no log.

    It never raises: a closed or full output must not break what is being observed.

    >>> WrittenAudit(sys.stdout, clock=lambda: 0).audit("secret.read", secret="shop-prod-secret-jwt", version="v1")
    1970-01-01T00:00:00Z secret.read secret=shop-prod-secret-jwt version=v1
    """

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._stream = stream
        self._clock = clock

    def audit(self, action: str, **facts: str) -> None:
        """Write one line: the time, the act, and `name=value` for each fact."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))
        stream = self._stream or sys.stderr
        with suppress(OSError, ValueError):
            stream.write(f"{moment} {action} {_line(facts)}\n")
            stream.flush()


def _line(facts: dict[str, str]) -> str:
    return " ".join(f"{name}={_word(fact)}" for name, fact in facts.items())


def _word(fact: str) -> str:
    """Quote what could be taken for more than one word, or for more than one line: an id may come from an event."""
    return fact if _WORD.fullmatch(fact) else json.dumps(fact)
