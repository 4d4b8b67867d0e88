"""The queue of spans: what a collector that is slow, refuses or is gone can do, which is nothing to a request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tegata.telemetry.spans import Incoming
from tegata.telemetry.trace_export import QUEUE, Tracing
from tegata.testing.collector import Collector

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 60.0
DELAY = "OTEL_BSP_SCHEDULE_DELAY"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a batch may wait for five seconds."""
    monkeypatch.setenv(DELAY, "20")


class Collecting(SpanExporter):
    """Takes spans when it is let, and answers as it is told."""

    def __init__(self, *answers: SpanExportResult | Exception) -> None:
        self.answers = list(answers)
        self.taken: list[str] = []
        self.asked = threading.Event()
        self.free = threading.Event()
        self.free.set()
        self.ended = 0
        self.resource: dict[str, Any] = {}

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.free.wait()
        answer = self.answers.pop(0) if self.answers else SpanExportResult.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        self.taken += [span.name for span in spans]
        self.resource = dict(spans[0].resource.attributes)
        return answer

    def shutdown(self) -> None:
        self.ended += 1


def make(tracing: Tracing, *names: str) -> None:
    for name in names:
        with tracing.tracer.request(name, {}, Incoming((), continued=False)):
            pass


def counted(tracing: Tracing) -> dict[str, float]:
    return {sample.labels[0]: sample.value for sample in tracing.samples()}


async def test_what_waits_is_exported_at_the_end() -> None:
    collecting = Collecting()
    tracing = Tracing({}, exporter=collecting)
    make(tracing, "a", "b")
    await tracing.close(seconds=PATIENCE_SECONDS)
    assert sorted(collecting.taken) == ["a", "b"]
    assert counted(tracing) == {"exported": 2, "failed": 0, "dropped": 0}
    assert collecting.ended == 1


async def test_a_full_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # None is taken before there is a whole batch of them, however slowly they come.
    monkeypatch.setenv(DELAY, "600000")
    collecting = Collecting()
    collecting.free.clear()
    tracing = Tracing({QUEUE: "3"}, exporter=collecting)
    make(tracing, "1", "2", "3")  # a whole batch: it is taken at once, and held
    assert collecting.asked.wait(PATIENCE_SECONDS)
    make(tracing, "4", "5", "6", "7", "8")
    assert counted(tracing)["dropped"] == 2
    collecting.free.set()
    await tracing.close(seconds=PATIENCE_SECONDS)
    assert sorted(collecting.taken) == ["1", "2", "3", "4", "5", "6"]
    assert counted(tracing) == {"exported": 6, "failed": 0, "dropped": 2}


async def test_an_end_waits_for_a_collector_only_so_long() -> None:
    collecting = Collecting()
    collecting.free.clear()
    tracing = Tracing({}, exporter=collecting)
    make(tracing, "a")
    with structlog.testing.capture_logs() as lines:
        await tracing.close(seconds=0.01)
    assert [line["event"] for line in lines] == ["traces_not_flushed"]
    assert collecting.ended == 1  # it was told to try no more
    collecting.free.set()


@pytest.mark.parametrize("answer", [SpanExportResult.FAILURE, ValueError("no")], ids=["refuses", "breaks"])
async def test_a_failure_is_counted_and_told_once(answer: SpanExportResult | Exception) -> None:
    collecting = Collecting(answer, answer)
    with structlog.testing.capture_logs() as lines:
        tracing = Tracing({QUEUE: "1"}, exporter=collecting)
        for name in ("a", "b", "c"):
            collecting.asked.clear()
            make(tracing, name)
            assert collecting.asked.wait(PATIENCE_SECONDS)
        await tracing.close(seconds=PATIENCE_SECONDS)
    assert counted(tracing) == {"exported": 1, "failed": 2, "dropped": 0}
    assert [line["event"] for line in lines] == ["traces_not_taken", "traces_taken_again"]


@pytest.mark.parametrize(("status", "why"), [(400, "code: 400"), (503, "max retries"), (0, "max retries")])
async def test_a_collector_that_refuses_or_is_gone_is_told_of_with_the_reason(
    status: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        if status:
            endpoint = stack.enter_context(Collector(status=status)).endpoint
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
        else:
            gone = stack.enter_context(socket.socket())
            gone.bind(("127.0.0.1", 0))  # nobody else can listen there, and the answer is no, at once
            endpoint = f"http://127.0.0.1:{gone.getsockname()[1]}"
            # Less than the pause before a second try, which is 0.8 seconds at least.
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.7")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        lines = stack.enter_context(structlog.testing.capture_logs())
        tracing = Tracing({})
        make(tracing, "a")
        await tracing.close(seconds=PATIENCE_SECONDS)
    assert counted(tracing) == {"exported": 0, "failed": 1, "dropped": 0}
    (line,) = lines
    assert (line["event"], why in line["said"]) == ("traces_not_taken", True)


async def test_what_is_sent_is_what_the_standard_describes(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        tracing = Tracing({})
        make(tracing, "GET /{tenant}/jwks")
        await tracing.close(seconds=PATIENCE_SECONDS)
        (span,) = collector.spans()
    assert (span.name, span.kind, span.parent_id, span.resource["service.name"]) == (
        "GET /{tenant}/jwks",
        "server",
        "",
        "tegata",
    )
    assert counted(tracing) == {"exported": 1, "failed": 0, "dropped": 0}


async def test_the_service_has_our_name_unless_it_is_told_another(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = await resource_of()
    assert (ours["service.name"], ours["telemetry.sdk.language"]) == ("tegata", "python")
    assert ours["service.version"]
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=7,deployment.environment.name=staging")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "idp-server")
    told = await resource_of()
    assert (told["service.name"], told["service.version"]) == ("idp-server", "7")
    assert told["deployment.environment.name"] == "staging"


async def resource_of() -> dict[str, Any]:
    collecting = Collecting()
    tracing = Tracing({}, exporter=collecting)
    make(tracing, "a")
    await tracing.close(seconds=PATIENCE_SECONDS)
    return collecting.resource
