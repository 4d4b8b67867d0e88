"""A collector of traces on loopback: takes what any OTLP exporter sends, decoded by OpenTelemetry's own types.

It may refuse, or keep whoever asks waiting. Takes the extra `tegata[tracing]`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """A span as it arrived, ids as hexadecimal text; `parent_id` is empty for the first of a trace."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    links: tuple[tuple[str, str, str], ...]
    events: int
    failed: bool
    said: str
    seconds: float


class Collector:
    """Listens while its block lasts. `status`: what it answers from now on; `holds`: it answers nobody."""

    def __init__(self, *, status: int = 200, holds: bool = False) -> None:
        self.status = status
        self.holds = holds
        self.bodies: list[bytes] = []
        self.requests = 0
        self._counting = threading.Lock()
        self._ending = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def endpoint(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def spans(self) -> list[SeenSpan]:
        """Return every span that was taken, in the order of arrival."""
        return [span for body in list(self.bodies) for span in _decoded(body)]

    def until(self, enough: Callable[[list[SeenSpan]], bool]) -> list[SeenSpan]:
        """Wait for spans, and return all that are there then."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not enough(found := self.spans()):
            if time.monotonic() > deadline:
                raise AssertionError(f"these spans alone came: {[span.name for span in found]}")
            time.sleep(0.02)
        return found

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, path: str, kind: str | None, body: bytes) -> int:
        """Answer one export."""
        with self._counting:
            self.requests += 1
        if self.holds:
            self._ending.wait(_PATIENCE_SECONDS)
        if (path, kind) != ("/v1/traces", "application/x-protobuf"):
            return 400
        if self.status == 200:
            self.bodies.append(body)
        return self.status


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Who hangs up while it is kept waiting is no fault."""


def _handler_of(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = collector.take(self.path, self.headers["content-type"], body)
            self.send_response(status)
            if status == 503:  # later than any exporter's patience: it gives up at once, however fast it was answered
                self.send_header("retry-after", "3600")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Write nothing."""

    return Handler


def _decoded(body: bytes) -> Iterable[SeenSpan]:
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _values(group.resource.attributes)
        for scope in group.scope_spans:
            yield from (_seen(span, resource) for span in scope.spans)


def _seen(span: Span, resource: dict[str, Any]) -> SeenSpan:
    return SeenSpan(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        attributes=_values(span.attributes),
        resource=resource,
        links=tuple((link.trace_id.hex(), link.span_id.hex(), link.trace_state) for link in span.links),
        events=len(span.events),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        said=span.status.message,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _values(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}
