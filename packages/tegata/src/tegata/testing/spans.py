"""A tracer that keeps what it made, by OpenTelemetry's own SDK. Takes the extra `tegata[tracing]`."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tegata.telemetry.tracing import OpenTelemetryTracer


class KeptSpans:
    """A tracer, and the spans that have ended, in this order. `more`: propagators beside W3C's."""

    def __init__(self, *more: TextMapPropagator, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        propagator = CompositePropagator([TraceContextTextMapPropagator(), *more])
        self.tracer = OpenTelemetryTracer(provider.get_tracer("test"), propagator)

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        """The spans that have ended."""
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """Return those of one name."""
        return [span for span in self.ended if span.name == name]
