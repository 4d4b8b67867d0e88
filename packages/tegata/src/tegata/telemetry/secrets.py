"""What a process tells of the secrets it reads: counters for /metrics, a line in the log for each access and change.

The kit's names of figures and acts stand in `tegata_credentials.secret_service.figures`. No value is ever among them.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Protocol

import structlog

from tegata.telemetry import metrics
from tegata.telemetry.metrics import Sample

_log = structlog.get_logger("tegata.secrets")
# The log hides what is named like a secret: what these facts name is where one is, and which.
_NAMES = {"secret": "reference"}


class Flushed(Protocol):
    """Gathers figures, and writes them when told."""

    def metric(self, name: str, value: float = 1, unit: Any = "Count", **dimensions: str) -> None:
        """Add to a figure."""

    def flush(self) -> None:
        """Write what was gathered."""


class SecretFigures:
    """Counts and writes down. Implements the `Observer` of `tegata_credentials`; told from any thread.

    `more` is told of each figure as well, as CloudWatch's embedded format is.
    """

    def __init__(self, more: Flushed | None = None) -> None:
        self._more = more
        self._lock = threading.Lock()
        self._counts: defaultdict[tuple[str, str], float] = defaultdict(float)

    def metric(self, name: str, value: float = 1, unit: str = "Count", **dimensions: str) -> None:
        """Add to a figure."""
        with self._lock:
            self._counts[name, dimensions.get("reason", "")] += value
        if self._more is not None:
            self._more.metric(name, value, unit, **dimensions)

    def flush(self) -> None:
        """Write what others have gathered of it."""
        if self._more is not None:
            self._more.flush()

    def audit(self, action: str, **facts: str) -> None:
        """Write a line, e.g. `secret.read` with reference and version."""
        told = {_NAMES.get(name, name): fact for name, fact in facts.items()}
        (_log.warning if "reason" in facts else _log.info)(action, **told)

    def samples(self) -> Iterator[Sample]:
        """Yield what /metrics says at this moment; nothing in a process that reads no secrets."""
        with self._lock:
            counts = dict(self._counts)
        if not counts:
            return
        for metric, name in _PLAIN.items():
            yield metric.sample(counts.get((name, ""), 0))
        yield metrics.SECRET_FETCH_SECONDS.sample(counts.get((_DURATION, ""), 0) / 1e3)
        for (name, reason), count in counts.items():
            if name == _FAILED:
                yield metrics.SECRET_FETCH_FAILURES.sample(count, reason)


_FAILED, _DURATION = "SecretFetchFailed", "SecretFetchDuration"
_PLAIN = {
    metrics.SECRET_FETCHES: "SecretFetchSucceeded",
    metrics.SECRET_CACHE_HITS: "SecretCacheHits",
    metrics.SECRET_STALE_SERVED: "SecretStaleServed",
    metrics.SECRET_CHANGES: "SecretVersionChanged",
}
