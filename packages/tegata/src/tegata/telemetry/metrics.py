"""Metrics: every one that exists, and how they are written down for whoever collects them.

Counting is adding to an integer that belongs to whoever counts; there is no registry that hot paths lock. What is
counted is gathered when somebody asks. Labels have few values, all of them ours: never a tenant, client or address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

# To every metric: the number of the server process.
WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric means. A counter's samples are written with `_total` behind the name (OpenMetrics §5.1)."""

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    labels: tuple[str, ...] = ()

    def sample(self, value: float, *labels: str) -> Sample:
        """Return a value of it; `labels` in the order of their names."""
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}")
        return Sample(self, labels, value)


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric at this moment."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


Source = Callable[[], Iterable[Sample]]

HTTP_REQUESTS = Metric("tegata_http_requests", "counter", "Requests answered.", ("endpoint", "status"))
POOL_SIZE = Metric("tegata_database_pool_size", "gauge", "Connections that the process may open.", ("pool",))
POOL_OPEN = Metric("tegata_database_pool_open", "gauge", "Connections that are open or being opened.", ("pool",))
POOL_BUSY = Metric("tegata_database_pool_busy", "gauge", "Connections in use.", ("pool",))
POOL_WAITING = Metric("tegata_database_pool_waiting", "gauge", "Requests that wait for a connection.", ("pool",))
POOL_REFUSED = Metric(
    "tegata_database_pool_refused", "counter", "Requests refused because no connection became free.", ("pool",)
)
DATABASE_ERRORS = Metric(
    "tegata_database_errors",
    "counter",
    "Errors of the database, by class of SQLSTATE, and of the connection to it.",
    ("pool", "class"),
)
READER_READS = Metric("tegata_reader_reads", "counter", "Marked reads that the reader answered.")
READER_FALLBACKS = Metric(
    "tegata_reader_fallbacks",
    "counter",
    "Marked reads that went to the writer although there is a reader.",
    ("reason",),
)
SECRET_FETCHES = Metric("tegata_secret_fetches", "counter", "Secrets read from their store.")
SECRET_FETCH_FAILURES = Metric(
    "tegata_secret_fetch_failures", "counter", "Secrets that their store did not give.", ("reason",)
)
SECRET_FETCH_SECONDS = Metric("tegata_secret_fetch_seconds", "counter", "Time that stores of secrets took.")
SECRET_CACHE_HITS = Metric("tegata_secret_cache_hits", "counter", "Reads of secrets answered from memory.")
SECRET_STALE_SERVED = Metric(
    "tegata_secret_stale_served", "counter", "Reads that got a value past its life: the store did not answer."
)
SECRET_CHANGES = Metric("tegata_secret_changes", "counter", "Times that another version of a secret was read.")
TRACE_SPANS = Metric("tegata_trace_spans", "counter", "Spans of traces, by what became of them.", ("outcome",))

METRICS = (
    HTTP_REQUESTS,
    POOL_SIZE,
    POOL_OPEN,
    POOL_BUSY,
    POOL_WAITING,
    POOL_REFUSED,
    DATABASE_ERRORS,
    READER_READS,
    READER_FALLBACKS,
    SECRET_FETCHES,
    SECRET_FETCH_FAILURES,
    SECRET_FETCH_SECONDS,
    SECRET_CACHE_HITS,
    SECRET_STALE_SERVED,
    SECRET_CHANGES,
    TRACE_SPANS,
)
_BY_NAME = {metric.name: metric for metric in METRICS}


class Workers(Protocol):
    """The server processes that one address is answered by: whoever is asked speaks for all."""

    async def start(self, own: Source) -> None:
        """Begin to tell the other processes about this one, when they ask."""
        ...

    async def samples(self) -> Mapping[str, Sequence[Sample]]:
        """Return the samples of every process by its number. One that does not answer is left out."""
        ...

    async def stop(self) -> None:
        """Say no more."""
        ...


class OneWorker:
    """Implements `Workers` for a single process."""

    def __init__(self) -> None:
        self._own: Source = tuple

    async def start(self, own: Source) -> None:
        self._own = own

    async def samples(self) -> Mapping[str, Sequence[Sample]]:
        return {"0": list(self._own())}

    async def stop(self) -> None:
        self._own = tuple


def as_json(samples: Iterable[Sample]) -> list[Any]:
    """Return samples as one process tells them to another."""
    return [[sample.metric.name, list(sample.labels), sample.value] for sample in samples]


def from_json(document: Iterable[Any]) -> list[Sample]:
    """Read what `as_json` made; a metric that this release does not have is left out."""
    return [
        Sample(_BY_NAME[name], tuple(labels), value)
        for name, labels, value in document
        if name in _BY_NAME and len(labels) == len(_BY_NAME[name].labels)
    ]


def exposition(workers: Mapping[str, Iterable[Sample]], accept: str) -> tuple[bytes, str]:
    """Return the samples of all processes as text, and its content type: OpenMetrics where `accept` asks for it."""
    from prometheus_client.exposition import choose_encoder  # takes longer to load than most commands to run

    encode, content_type = choose_encoder(accept)
    return encode(_Gathered(workers)), content_type


class _Gathered:
    """What the encoders of prometheus_client read: families of samples, each family once."""

    def __init__(self, workers: Mapping[str, Iterable[Sample]]) -> None:
        self._samples: dict[str, list[tuple[str, Sample]]] = {metric.name: [] for metric in METRICS}
        for worker, samples in workers.items():
            for sample in samples:
                self._samples[sample.metric.name].append((worker, sample))

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        for metric in METRICS:
            family: Any = families[metric.kind](metric.name, metric.meaning, labels=(*metric.labels, WORKER))
            for worker, sample in self._samples[metric.name]:
                family.add_metric((*sample.labels, worker), sample.value)
            yield family
