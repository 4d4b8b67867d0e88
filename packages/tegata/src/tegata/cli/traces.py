"""Traces for a server process, by its settings: nothing is loaded where they are off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

from tegata.settings import Settings, SettingsError

if TYPE_CHECKING:
    from tegata.telemetry.trace_export import Tracing

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"
_SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
_NEEDED = (
    "opentelemetry",
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "opentelemetry.exporter.otlp",
    "opentelemetry.exporter.otlp.proto",
    "opentelemetry.exporter.otlp.proto.http",
)
_QUEUE = "OTEL_BSP_MAX_QUEUE_SIZE"


def are_on(settings: Settings, environment: Mapping[str, str]) -> bool:
    """Whether this process sends traces: OTEL_SDK_DISABLED is stronger than our own switch."""
    return settings.traces == "otlp" and environment.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"


def check_traces(settings: Settings, environment: Mapping[str, str]) -> None:
    """Refuse what OpenTelemetry would only write a line about, or end with a stack for. Raises `SettingsError`."""
    if not are_on(settings, environment):
        return
    if not _is_installed():
        raise SettingsError(
            ["TEGATA_TRACES is otlp, which takes the extra tegata[tracing]: pip install 'tegata[tracing]'"]
        )
    problems = [*_problems(environment)]
    if problems:
        raise SettingsError(problems)


def _is_installed() -> bool:
    # From the outside in: `find_spec` raises for a module of a package that is not there.
    return all(find_spec(name) is not None for name in _NEEDED)


def _problems(environment: Mapping[str, str]) -> Iterator[str]:
    name = next((name for name in _PROTOCOLS if environment.get(name)), None)
    if name is not None and environment[name].strip() != _SPOKEN:
        yield f"{name} is {environment[name]}; Tegata speaks {_SPOKEN} alone (port 4318 of most collectors)"
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").strip()
    if sampler and sampler not in _SAMPLERS:
        yield f"OTEL_TRACES_SAMPLER is {sampler}; it is one of {', '.join(_SAMPLERS)}"
    share = environment.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if share and not _is_share(share):
        yield "OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1"
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        if environment.get(name) and not environment[name].strip().startswith(("http://", "https://")):
            yield f"{name} is no address like http://127.0.0.1:4318"
    known = {"none", *(found.name for found in entry_points(group="opentelemetry_propagator"))}
    for propagator in environment.get("OTEL_PROPAGATORS", "").split(","):
        if propagator.strip() not in {"", *known}:
            yield f"OTEL_PROPAGATORS names {propagator.strip()}; known here are {', '.join(sorted(known))}"
    queue = environment.get(_QUEUE, "").strip()
    if queue and not (queue.isascii() and queue.isdigit() and int(queue) > 0):
        yield f"{_QUEUE} is no whole number above 0"


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def log_processors(settings: Settings, environment: Mapping[str, str]) -> tuple[structlog.typing.Processor, ...]:
    """Return what adds the ids of traces to lines of the log, if there are traces."""
    if not are_on(settings, environment):
        return ()
    from tegata.telemetry.tracing import add_ids

    return (add_ids,)


@asynccontextmanager
async def tracing(settings: Settings, environment: Mapping[str, str]) -> AsyncIterator[Tracing | None]:
    """Trace while the block lasts, and then send what waits; None where traces are off."""
    if not are_on(settings, environment):
        yield None
        return
    from tegata.telemetry.trace_export import Tracing

    opened = Tracing(environment)
    try:
        yield opened
    finally:
        await opened.close()
