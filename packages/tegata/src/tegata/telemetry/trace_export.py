"""Where spans go: OTLP over HTTP, from a thread of its own, behind a queue that drops what does not fit.

Nothing that happens to the collector reaches a request: it only adds to a queue whose length is bounded, and what is
lost is counted. Everything is configured by OpenTelemetry's own variables (OpenTelemetry Specification, "Environment
Variable Specification"), which its SDK reads. Nothing is made global: no library adds spans of its own to ours.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from tegata.telemetry import metrics
from tegata.telemetry.metrics import Sample
from tegata.telemetry.tracing import OpenTelemetryTracer

_log = structlog.get_logger("tegata.traces")

QUEUE = "OTEL_BSP_MAX_QUEUE_SIZE"
_QUEUE_SIZE = 2048
_FLUSH_SECONDS = 5.0


class Tracing:
    """The traces of one process: made in it, and closed before it ends."""

    def __init__(self, environment: Mapping[str, str], *, exporter: SpanExporter | None = None) -> None:
        """Begin to export. `exporter` takes the place of OTLP."""
        self._exporter = _Counted(exporter or OTLPSpanExporter(), _last_words())
        self._bounded = _Bounded(self._exporter, int(environment.get(QUEUE) or _QUEUE_SIZE))
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        provider.add_span_processor(self._bounded)
        self.tracer = OpenTelemetryTracer(provider.get_tracer("tegata", version("tegata")), get_global_textmap())

    def samples(self) -> Iterator[Sample]:
        """Yield what /metrics says at this moment."""
        yield metrics.TRACE_SPANS.sample(self._exporter.exported, "exported")
        yield metrics.TRACE_SPANS.sample(self._exporter.failed, "failed")
        yield metrics.TRACE_SPANS.sample(self._bounded.dropped, "dropped")

    async def close(self, *, seconds: float = _FLUSH_SECONDS) -> None:
        """Export what waits, and wait for that no longer than `seconds`."""
        await asyncio.to_thread(self._close, seconds)

    def _close(self, seconds: float) -> None:
        # By itself it waits for up to half a minute; the thread ends with the process.
        flushing = threading.Thread(target=self._bounded.shutdown, name="tegata-traces", daemon=True)
        flushing.start()
        flushing.join(seconds)
        if flushing.is_alive():
            self._exporter.shutdown()  # tries no more
            _log.warning("traces_not_flushed", spans=self._bounded.waiting)


class _Counted(SpanExporter):
    """Hands batches on, counts them, and tells when the collector stops and begins to take them.

    Called by the processor's thread alone.
    """

    def __init__(self, inner: SpanExporter, said: _LastWords) -> None:
        self._inner = inner
        self._said = said
        self._refusing = False
        self._closed = False
        self.taken = 0
        self.exported = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            self._count(len(spans), failed=result is not SpanExportResult.SUCCESS)
        return result

    def _count(self, spans: int, *, failed: bool) -> None:
        if failed:
            self.failed += spans
        else:
            self.exported += spans
        if failed is not self._refusing:
            self._refusing = failed
            if failed:
                _log.warning("traces_not_taken", said=self._said.told(), cure="docs/how-to/trace-requests.md")
            else:
                _log.info("traces_taken_again", lost=self.failed)

    def shutdown(self) -> None:
        if not self._closed:
            self._closed = True
            self._inner.shutdown()


class _Bounded(BatchSpanProcessor):
    """Takes a span only while there is room for it.

    The SDK's queue is bounded as well, but counts nothing unless it is given metrics of its own, and writes a line
    for spans it drops. Spans are ended on the event loop and taken by the processor's thread: one writer each.
    """

    def __init__(self, exporter: _Counted, size: int) -> None:
        super().__init__(exporter, max_queue_size=size, max_export_batch_size=min(512, size))
        self._counted = exporter
        self._size = size
        self._handed = 0
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many spans wait."""
        return self._handed - self._counted.taken

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self.waiting >= self._size:
            self.dropped += 1
            return
        self._handed += 1
        super().on_end(span)


class _LastWords(logging.Handler):
    """Keeps what OpenTelemetry said last. By itself it would say the same again for each batch, as bare text.

    Two messages: the last one may be that it gives up, and the one before it why.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last: deque[str] = deque(maxlen=2)

    def emit(self, record: logging.LogRecord) -> None:
        self._last.append(record.getMessage())

    def told(self) -> str:
        """Return them, and forget them."""
        said = " ".join(self._last)
        self._last.clear()
        return said


def _last_words() -> _LastWords:
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    for handler in logger.handlers:
        if isinstance(handler, _LastWords):
            return handler
    logger.addHandler(_LastWords())
    return _last_words()


def _resource() -> Resource:
    """Return who we are: as the environment says, and by our own name where it does not."""
    said = Resource.create().attributes
    given = {name: value for name, value in said.items() if not str(value).startswith("unknown_service")}
    return Resource({SERVICE_NAME: "tegata", SERVICE_VERSION: version("tegata"), **given})
