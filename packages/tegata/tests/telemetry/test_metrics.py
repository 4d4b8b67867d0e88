"""Metrics: written as collectors read them, documented each, with labels that are ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tegata.telemetry.metrics import (
    HTTP_REQUESTS,
    METRICS,
    POOL_BUSY,
    READER_READS,
    WORKER,
    OneWorker,
    as_json,
    exposition,
    from_json,
)

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "metrics.md"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
SAMPLES = {
    "0": [HTTP_REQUESTS.sample(3, "token", "200"), POOL_BUSY.sample(2, "writer"), READER_READS.sample(7)],
    "1": [HTTP_REQUESTS.sample(4, "token", "200"), POOL_BUSY.sample(0, "writer")],
}


@pytest.mark.parametrize(("accept", "parse"), [("*/*", parse_text), (OPENMETRICS, parse_openmetrics)])
def test_what_is_written_is_read_back_by_the_collectors_own_parser(accept: str, parse: object) -> None:
    body, content_type = exposition(SAMPLES, accept)
    assert content_type.startswith("application/openmetrics-text" if accept == OPENMETRICS else "text/plain")
    families = {family.name: family for family in parse(body.decode())}  # type: ignore[operator]
    assert set(families) == {metric.name for metric in METRICS}
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert found == {
        ("tegata_http_requests_total", (("endpoint", "token"), ("status", "200"), (WORKER, "0"))): 3,
        ("tegata_http_requests_total", (("endpoint", "token"), ("status", "200"), (WORKER, "1"))): 4,
        ("tegata_database_pool_busy", (("pool", "writer"), (WORKER, "0"))): 2,
        ("tegata_database_pool_busy", (("pool", "writer"), (WORKER, "1"))): 0,
        ("tegata_reader_reads_total", ((WORKER, "0"),)): 7,
    }


def test_every_family_stands_once_however_many_processes_there_are() -> None:
    body, _ = exposition({str(number): SAMPLES["0"] for number in range(8)}, OPENMETRICS)
    assert body.count(b"# TYPE tegata_http_requests counter") == 1
    assert body.endswith(b"# EOF\n")


def test_processes_tell_each_other_what_they_would_say_themselves() -> None:
    told = json.loads(json.dumps(as_json(SAMPLES["0"])))
    assert from_json(told) == SAMPLES["0"]


def test_metrics_of_another_release_are_left_out() -> None:
    assert from_json([["tegata_of_tomorrow", [], 1], ["tegata_reader_reads", ["a label more"], 1]]) == []


def test_a_sample_needs_its_labels() -> None:
    with pytest.raises(ValueError, match="tegata_http_requests"):
        HTTP_REQUESTS.sample(1, "token")


@pytest.mark.anyio
async def test_a_single_process_speaks_for_itself_until_it_stops() -> None:
    worker = OneWorker()
    await worker.start(lambda: SAMPLES["0"])
    assert await worker.samples() == {"0": SAMPLES["0"]}
    await worker.stop()
    assert await worker.samples() == {"0": []}


def test_every_metric_and_no_other_is_in_the_reference() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", PAGE.read_text(), flags=re.MULTILINE)
    documented = {name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in rows}
    written = {
        metric.name + ("_total" if metric.kind == "counter" else ""): (metric.kind, list(metric.labels))
        for metric in METRICS
    }
    assert documented == written


def test_names_and_labels_are_as_the_format_wants_them_and_hold_nothing_of_a_request() -> None:
    """OpenMetrics §4.1; and a label with endless values would fill the memory of whoever collects."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"tegata_[a-z_]+[a-z]", metric.name)
        assert not metric.name.endswith("_total")
        assert set(metric.labels) <= {"endpoint", "status", "pool", "class", "reason", "outcome"}
