"""Spans by OpenTelemetry's API. Loaded only where traces are switched on.

No exception is recorded in a span: its text and its stack may hold what somebody has sent. Its type alone is told, by
our own blocks: those of OpenTelemetry would record it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from contextvars import Token
from types import TracebackType
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from tegata.telemetry.spans import ERROR_TYPE, FRONT_ROOT, Attributes, Headers, Incoming, Span, Value

# What anybody can send. Trace Context §3.3.1.3 has 512 characters as the least that is worth passing on.
_LONGEST_HEADER = 1024
_XRAY = "X-Amzn-Trace-Id"
_XRAY_ROOT = re.compile(r"(?:^|;)\s*Root=(1-[0-9a-f]{8}-[0-9a-f]{24})\s*(?:;|$)", re.ASCII)


_NOWHERE = contexts.Context()  # contexts do not change


class OpenTelemetryTracer:
    """Implements `telemetry.spans.Tracer`."""

    def __init__(self, tracer: trace.Tracer, propagator: TextMapPropagator) -> None:
        self._tracer = tracer
        self._propagator = propagator
        self._knows_xray = _XRAY in propagator.fields
        self._fields = frozenset(name.lower().encode() for name in propagator.fields)

    def request(self, name: str, attributes: Attributes, incoming: Incoming) -> AbstractContextManager[Span]:
        parent, links, remote = _NOWHERE, [], None
        for header, _ in incoming.headers:
            if header in self._fields:  # most requests have none, and looking for each is a third of the work
                remote = self._remote(incoming.headers)
                break
        if remote is not None and incoming.continued:
            parent = trace.set_span_in_context(trace.NonRecordingSpan(remote), parent)
        elif remote is not None:
            links = [Link(remote)]
        root = self._root_of_front(incoming.headers)
        if root is not None:
            attributes = {**attributes, FRONT_ROOT: root}
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes, links)
        return _Active(span, parent)

    def call(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        return self._below(name, SpanKind.CLIENT, attributes)

    def work(self, name: str) -> AbstractContextManager[Span]:
        return self._below(name, SpanKind.INTERNAL, None)

    def _below(self, name: str, kind: SpanKind, attributes: Attributes | None) -> AbstractContextManager[Span]:
        # What is done in the background belongs to no request, and makes no trace of its own.
        if not trace.get_current_span().is_recording():
            return _NOTHING
        return _Ending(self._tracer.start_span(name, None, kind, attributes))

    def _remote(self, headers: Headers) -> SpanContext | None:
        """Return whose trace the headers name: two ids and a flag. Their `tracestate` is free text, and dropped."""
        found = self._propagator.extract(headers, _NOWHERE, _OF_HEADERS)
        remote = trace.get_current_span(found).get_span_context()
        if not remote.is_valid:
            return None
        return SpanContext(remote.trace_id, remote.span_id, is_remote=True, trace_flags=remote.trace_flags)

    def _root_of_front(self, headers: Headers) -> str | None:
        """Return what a load balancer of AWS calls the request: a root without a parent, which is no span's context."""
        if not self._knows_xray:
            return None
        found = [_XRAY_ROOT.search(value) for value in _OF_HEADERS.get(headers, _XRAY) or ()]
        return found[0][1] if len(found) == 1 and found[0] is not None else None


def add_ids(_logger: object, _name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Add the ids of the span that is active to a line of the log. A processor of structlog."""
    found = trace.get_current_span().get_span_context()
    if found.is_valid:
        event["trace_id"] = trace.format_trace_id(found.trace_id)
        event["span_id"] = trace.format_span_id(found.span_id)
    return event


class _Ending(AbstractContextManager[Span]):
    """Ends a span with its block."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        if kind is not None:
            self.fail(kind.__qualname__)
        self._span.end()

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def fail(self, kind: str) -> None:
        self._span.set_attribute(ERROR_TYPE, kind)
        self._span.set_status(Status(StatusCode.ERROR))


class _Active(_Ending):
    """The same, for a span that others are below."""

    __slots__ = ("_parent", "_token")

    def __init__(self, span: trace.Span, parent: contexts.Context) -> None:
        super().__init__(span)
        self._parent = parent
        self._token: Token[contexts.Context] | None = None

    def __enter__(self) -> Span:
        self._token = contexts.attach(trace.set_span_in_context(self._span, self._parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        assert self._token is not None
        contexts.detach(self._token)
        super().__exit__(kind, error, frames)


class _Nothing(AbstractContextManager[Span]):
    """A span of nobody; it has no state, so one is enough."""

    __slots__ = ()

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set(self, name: str, value: Value) -> None:
        return None

    def fail(self, kind: str) -> None:
        return None


_NOTHING = _Nothing()


class _HeadersGetter(Getter[Headers]):
    """Reads headers as ASGI has them: pairs of bytes, names in lower case."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        name = key.lower().encode()
        return [
            value.decode("latin-1") for found, value in carrier if found == name and len(value) <= _LONGEST_HEADER
        ] or None

    def keys(self, carrier: Headers) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier]


_OF_HEADERS = _HeadersGetter()
