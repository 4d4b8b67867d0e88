"""Figures in CloudWatch's embedded format, compared with what AWS's own library for Lambda writes."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from tegata_credentials.embedded_metrics import NAMESPACE, EmbeddedMetrics

from .forking import in_child


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_figure_is_written_as_powertools_writes_it() -> None:
    out = io.StringIO()
    with EmbeddedMetrics(out) as ours:
        ours.metric("RotationFailed", step="setSecret")
        ours.metric("StepDuration", 12.5, "Milliseconds", step="setSecret")
    theirs = Metrics(namespace=NAMESPACE)
    theirs.add_dimension(name="step", value="setSecret")
    theirs.add_metric(name="RotationFailed", unit=MetricUnit.Count, value=1)
    theirs.add_metric(name="StepDuration", unit=MetricUnit.Milliseconds, value=12.5)
    expected = json.loads(json.dumps(theirs.serialize_metric_set()))
    (line,) = lines(out)
    (definition,) = line["_aws"]["CloudWatchMetrics"]
    # Ours counts the same once more without dimensions, for alarms.
    assert definition.pop("Dimensions") == [["step"], []]
    (theirs_defined,) = expected["_aws"]["CloudWatchMetrics"]
    assert theirs_defined.pop("Dimensions") == [["step"]]
    assert definition == theirs_defined
    # They write every value as a list; the specification allows a number as well.
    assert {name: [line[name]] for name in ("RotationFailed", "StepDuration")} == {
        name: expected[name] for name in ("RotationFailed", "StepDuration")
    }
    assert line["step"] == expected["step"]


def test_each_combination_of_dimensions_is_a_line_of_its_own() -> None:
    out = io.StringIO()
    with EmbeddedMetrics(out) as observer:
        for source in ("awssm", "file", "awssm"):
            observer.metric("SecretFetchSucceeded", source=source)
    assert sorted((line["source"], line["SecretFetchSucceeded"]) for line in lines(out)) == [
        ("awssm", [1, 1]),
        ("file", 1),
    ]


def test_a_line_never_holds_more_values_than_cloudwatch_takes() -> None:
    out = io.StringIO()
    with EmbeddedMetrics(out) as observer:
        for _ in range(250):
            observer.metric("CacheHit")
    assert [len(line["CacheHit"]) for line in lines(out)] == [100, 100, 50]


def test_a_line_never_holds_more_metrics_than_cloudwatch_takes() -> None:
    out = io.StringIO()
    with EmbeddedMetrics(out) as observer:
        for number in range(130):
            observer.metric(f"M{number}")
    assert [len(line["_aws"]["CloudWatchMetrics"][0]["Metrics"]) for line in lines(out)] == [100, 30]


def test_what_was_gathered_is_written_when_its_time_has_come() -> None:
    out, clock = io.StringIO(), Clock()
    observer = EmbeddedMetrics(out, every_seconds=60, clock=clock)
    observer.metric("CacheHit")
    assert not out.getvalue()
    clock.now += 61
    observer.metric("CacheHit")
    (line,) = lines(out)
    assert (line["CacheHit"], line["_aws"]["Timestamp"]) == ([1, 1], 1_700_000_061_000)


def test_an_audit_line_cannot_be_disguised_by_a_fact() -> None:
    out = io.StringIO()
    EmbeddedMetrics(out).audit("secret.read", **{"audit": "nothing", "secret": 'a"\n{"audit":"x"}'})
    (line,) = lines(out)
    assert (line["audit"], line["secret"]) == ("secret.read", 'a"\n{"audit":"x"}')


def test_a_broken_output_fails_nobody() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    for stream in (Full(), closed):
        with EmbeddedMetrics(stream) as observer:
            observer.metric("CacheHit")
            observer.audit("secret.read")


@pytest.fixture
def hurried_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried_threads")
def test_threads_lose_no_figure_and_write_no_line_that_is_too_long() -> None:
    out = io.StringIO()
    observer = EmbeddedMetrics(out)
    threads = [
        threading.Thread(target=lambda: [observer.metric("CacheHit") for _ in range(500)] and None) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    observer.flush()
    written = [len(found) if isinstance(found := line["CacheHit"], list) else 1 for line in lines(out)]
    assert sum(written) == 4000
    assert max(written) <= 100  # the most that CloudWatch takes


def test_a_forked_process_neither_waits_for_a_lost_lock_nor_repeats_its_parents_figures() -> None:
    out = io.StringIO()
    observer = EmbeddedMetrics(out)
    observer.metric("OfTheParent")

    def in_the_child() -> str:
        observer.metric("OfTheChild")
        observer.flush()
        return out.getvalue()

    with observer._lock:  # as a thread would hold it at this moment
        told = in_child(in_the_child)
    assert [set(json.loads(line)) for line in told.splitlines()] == [{"_aws", "OfTheChild"}]
