"""uvicorn, run by us: our own socket, our own signals, and a word when the server accepts connections."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tegata.app import AsgiApp
from tegata.cli.failures import UNAVAILABLE, CommandFailure

BACKLOG = 2048
# Longer than the idle time of common load balancers (60 s): the side that reuses a connection must not lose the race.
_KEEP_ALIVE_SECONDS = 75
# From the first byte that could come to the last one of the headers.
HEADER_SECONDS = 20.0
_MOST_CONNECTIONS = 4096


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one. Raises `CommandFailure` that says what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CommandFailure(
            f"port {port} of {host} cannot be used ({error.strerror or error}): stop what uses it, or choose another "
            "one with TEGATA_PORT (0 picks a free one)",
            UNAVAILABLE,
        ) from None


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Return host and port of a socket, the host as it stands in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]" if ":" in host else host, port


def _most_connections() -> int:
    """Return how many connections one process takes; beyond, requests get 503 while files can still be opened."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(64, min(_MOST_CONNECTIONS, soft - 128))


class PromptHttp(HttpToolsProtocol):
    """Closes connections whose next request does not come: uvicorn itself waits for headers without end."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Give the first request its time."""
        super().connection_made(transport)
        self._wait(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait(None)
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """From here on the limits of `api.http` apply."""
        self._wait(None)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Give the next request its time, after the idle time."""
        super().on_response_complete()
        if not self.transport.is_closing() and not self.pipeline:
            self._wait(self.timeout_keep_alive + HEADER_SECONDS)

    def _wait(self, seconds: float | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = None if seconds is None else self.loop.call_later(seconds, self.transport.close)


class HttpServer(uvicorn.Server):
    """Serves one application until SIGINT or SIGTERM. A second SIGINT does not wait for requests."""

    def __init__(
        self,
        app: AsgiApp,
        *,
        shutdown_seconds: int,
        started: Callable[[], None] = lambda: None,
        drain: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                http=PromptHttp,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_most_connections(),
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=shutdown_seconds,
            )
        )
        self._tell_started = started
        self._drain = drain
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on signals. uvicorn would raise them again at the end, before the database has been stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started:
            self._tell_started()

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        self._asked_to_stop(signal.SIGTERM)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._draining is not None or self.should_exit:
            self.should_exit = True
            self.force_exit = number == signal.SIGINT
        elif self._drain is None:
            self.should_exit = True
        else:
            self._draining = asyncio.get_running_loop().create_task(self._leave(self._drain))

    async def _leave(self, drain: Callable[[], Awaitable[None]]) -> None:
        try:
            await drain()
        finally:
            self.should_exit = True
