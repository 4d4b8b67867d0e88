"""`tegata serve`: production. Settings are checked first; workers share one socket."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

import structlog
import uvloop

from tegata.app import Backend, Tegata
from tegata.cli import workers
from tegata.cli.databases import open_backend
from tegata.cli.failures import OK
from tegata.cli.http_server import HttpServer, bind
from tegata.cli.shared_metrics import SharedMetrics
from tegata.cli.traces import check_traces, log_processors, tracing
from tegata.cli.watched_settings import watching
from tegata.cli.ways_in import check_secret_of, process_secrets, secret_figures, serving_target
from tegata.crypto.envelope import Envelope
from tegata.postgres.secret_logins import ProcessSecrets
from tegata.settings import Settings, SettingsError, check_for_production, unknown_names
from tegata.telemetry import logs
from tegata.telemetry.library_logs import pass_on_logins
from tegata.telemetry.metrics import Sample

_log = structlog.get_logger("tegata.serve")


def run(environment: Mapping[str, str] = os.environ) -> int:
    """Serve until SIGTERM or SIGINT, then let requests finish. Raises `SettingsError` for unsafe settings."""
    settings = _settings(environment)
    _open_log(settings, environment)
    for name in unknown_names(environment):
        _log.warning("unknown_setting", setting=name)
    with bind(settings.host, settings.port) as listener:
        _log.info("listening", host=settings.host, port=listener.getsockname()[1], workers=settings.workers)
        if settings.workers == 1:
            return _serve(settings, listener)
        if not settings.metrics_networks:
            return workers.run(settings.workers, _worker, listener)
        with tempfile.TemporaryDirectory(prefix="tegata-metrics-") as directory:
            return workers.run(settings.workers, partial(_worker, metrics=Path(directory)), listener)


def _open_log(settings: Settings, environment: Mapping[str, str]) -> None:
    more = log_processors(settings, environment)
    logs.configure(level=settings.log_level, form=settings.log_format, more=more)
    pass_on_logins()


def _settings(environment: Mapping[str, str]) -> Settings:
    settings = Settings.from_environment(environment)
    check_for_production(settings)
    check_traces(settings, environment)
    assert settings.master_key is not None
    try:
        Envelope.from_text(settings.master_key.get_secret_value())
    except ValueError as error:
        raise SettingsError([f"TEGATA_MASTER_KEY: {error}; `tegata keys new-master-key` makes one"]) from None
    return settings


def _worker(listener: socket.socket, parent: workers.Parent, *, metrics: Path | None = None) -> int:
    """Run in a process of its own, with the same environment. `metrics`: where processes tell each other theirs."""
    settings = _settings(os.environ)
    _open_log(settings, os.environ)
    return _serve(settings, listener, parent, None if metrics is None else SharedMetrics(metrics))


def _serve(
    settings: Settings,
    listener: socket.socket,
    parent: workers.Parent | None = None,
    metrics: SharedMetrics | None = None,
) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run_app(settings, listener, parent, metrics))
    return OK


async def _run_app(
    settings: Settings, listener: socket.socket, parent: workers.Parent | None, metrics: SharedMetrics | None
) -> None:
    figures = secret_figures(settings)
    secrets = process_secrets(settings, observer=figures)
    target = serving_target(settings, secrets)
    whom = {"username": target.user} if target.user else {"reference": settings.database_secret}
    _log.info("database_connection", auth_method=target.auth_method, host=target.host, **whom)
    async with tracing(settings, os.environ) as traces:
        tracer = None if traces is None else traces.tracer

        def more() -> Iterator[Sample]:
            return chain(figures.samples(), () if traces is None else traces.samples())

        async def open_() -> Backend:
            await check_secret_of(settings, "database_url", target)
            return await open_backend(target, settings, more=more, tracer=tracer)

        app = Tegata(settings, open_, workers=metrics, tracer=tracer)
        try:
            await _answer(app, settings, secrets, listener, parent)
        finally:
            figures.flush()
            _log.info("stopped", pid=os.getpid())


async def _answer(
    app: Tegata, settings: Settings, secrets: ProcessSecrets, listener: socket.socket, parent: workers.Parent | None
) -> None:
    """Serve the application until it is told to stop."""

    def started() -> None:
        _log.info("serving", base_url=settings.base_url, pid=os.getpid())
        if parent is not None:
            parent.tell_started()

    server = HttpServer(app, shutdown_seconds=settings.shutdown_seconds, started=started, drain=app.drain)
    if parent is not None:
        parent.when_gone(server.stop)
    await app.start()
    try:
        async with watching(settings, secrets):
            await server.serve(sockets=[listener])
    finally:
        await app.stop()
