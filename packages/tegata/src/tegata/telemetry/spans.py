"""What parts of the server are traced by, and nothing of how it is done: the ports that `telemetry.tracing` fills.

Nobody has a tracer unless it was given one, and a server without traces loads nothing of OpenTelemetry. What may stand
in a span is written down at each place that makes one: never what a request said, but names of ours (see
docs/how-to/trace-requests.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

Value = str | int | float
Attributes = Mapping[str, Value]
Headers = Sequence[tuple[bytes, bytes]]

TENANT = "tegata.tenant"
OAUTH_ERROR = "tegata.oauth.error"
FRONT_ROOT = "tegata.front.root"
PASSWORD_QUEUE_SECONDS = "tegata.password.queue_seconds"  # a name, no password
ERROR_TYPE = "error.type"


class Span(Protocol):
    """An act that is under way."""

    def set(self, name: str, value: Value) -> None:
        """Say something about it."""
        ...

    def fail(self, kind: str) -> None:
        """Mark it as failed; `kind` is one of few names. Whatever leaves the block by an exception has failed, too."""
        ...


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a request says of somebody else's trace. `continued`: it is the word of a proxy of ours."""

    headers: Headers
    continued: bool


class Tracer(Protocol):
    """Makes spans; each lasts as long as its block."""

    def request(self, name: str, attributes: Attributes, incoming: Incoming) -> AbstractContextManager[Span]:
        """A request that the server answers: the span that everything it does is below."""
        ...

    def call(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """A question to another server. Only for a request whose trace is kept: else, and elsewhere, it is nothing."""
        ...

    def work(self, name: str) -> AbstractContextManager[Span]:
        """A piece of our own work, for such a request."""
        ...
