"""Figures and audit lines as JSON lines on standard output, which CloudWatch Logs turns into metrics by itself.

The format: Amazon CloudWatch User Guide, "Specification: Embedded metric format". On AWS Lambda, ECS and EKS with the
CloudWatch agent nothing else is needed; no call of an API, no credentials, no thread.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TextIO

from tegata_credentials.observer import Unit

NAMESPACE = "Tegata/Credentials"
# The most values one metric of one line may have.
_MOST_VALUES = 100
# The most metrics one line may define, and the longest text of a dimension.
_MOST_METRICS, _LONGEST_DIMENSION = 100, 1024

_Dimensions = tuple[tuple[str, str], ...]
_Gathered = dict[_Dimensions, dict[tuple[str, Unit], list[float]]]


class EmbeddedMetrics:
    """An `Observer` that writes CloudWatch's embedded metric format.

    Figures are gathered and written by `flush`, at the latest when a hundred of one kind are there or `every_seconds`
    have passed when one comes; audit lines are written at once. It never raises: a broken pipe must not break a login.

    Example:
        >>> import io
        >>> out = io.StringIO()
        >>> with EmbeddedMetrics(out, clock=lambda: 1.5) as observer:
        ...     observer.metric("SecretFetchSucceeded", source="awssm")
        ...     observer.audit("secret.read", secret="shop-dev-secret-database", version="v1")
        >>> [json.loads(line).get("audit") for line in out.getvalue().splitlines()]
        ['secret.read', None]
        >>> json.loads(out.getvalue().splitlines()[-1])["SecretFetchSucceeded"]
        1
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        namespace: str = NAMESPACE,
        every_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stream = stream
        self._namespace = namespace
        self._every_seconds = every_seconds
        self._clock = clock
        self._begin_anew()

    def _begin_anew(self) -> None:
        # Also in a forked process: the lock may have been held by a thread that does not exist there, and what was
        # gathered before is the parent's to tell.
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._gathered: _Gathered = {}
        self._flushed_at = self._clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def metric(self, name: str, value: float = 1, unit: Unit = "Count", **dimensions: str) -> None:
        """Add a value to the metric `name`; each combination of `dimensions` is a series of its own."""
        key = tuple(sorted((word, str(fact)[:_LONGEST_DIMENSION] or "-") for word, fact in dimensions.items()))
        if os.getpid() != self._process:
            self._begin_anew()
        with self._lock:
            values = self._gathered.setdefault(key, {}).setdefault((name, unit), [])
            values.append(value)
            is_due = len(values) >= _MOST_VALUES or self._clock() - self._flushed_at >= self._every_seconds
            # Taken at once: until it is written, another thread may come with one more.
            taken = self._taken() if is_due else {}
        self._write_gathered(taken)

    def audit(self, action: str, **facts: str) -> None:
        """Write one line for an access or a change."""
        self._write([{**facts, "timestamp": self._milliseconds(), "audit": action}])

    def flush(self) -> None:
        """Write what has been gathered."""
        if os.getpid() != self._process:
            self._begin_anew()
        with self._lock:
            taken = self._taken()
        self._write_gathered(taken)

    def _taken(self) -> _Gathered:
        """Return what has been gathered, and begin anew. Under the lock."""
        taken, self._gathered = self._gathered, {}
        self._flushed_at = self._clock()
        return taken

    def _write_gathered(self, gathered: _Gathered) -> None:
        if gathered:
            self._write([line for key, metrics in gathered.items() for line in self._lines(key, metrics)])

    def _lines(self, key: _Dimensions, metrics: dict[tuple[str, Unit], list[float]]) -> list[dict[str, Any]]:
        named = list(metrics.items())
        lines = []
        for start in range(0, len(named), _MOST_METRICS):
            part = named[start : start + _MOST_METRICS]
            # By its dimensions, and all together: an alarm has to name each dimension that a series has.
            dimensions = [[word for word, _ in key], []] if key else [[]]
            definition = {
                "Namespace": self._namespace,
                "Dimensions": dimensions,
                "Metrics": [{"Name": name, "Unit": unit} for (name, unit), _ in part],
            }
            values = {name: found[0] if len(found) == 1 else found for (name, _), found in part}
            about = {"Timestamp": self._milliseconds(), "CloudWatchMetrics": [definition]}
            lines.append({"_aws": about, **dict(key), **values})
        return lines

    def _milliseconds(self) -> int:
        return int(self._clock() * 1000)

    def _write(self, lines: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        stream = self._stream or sys.stdout
        # A closed or full output is no reason to fail whoever is being observed.
        with suppress(OSError, ValueError):
            stream.write(text)
            stream.flush()
