"""A door before PostgreSQL that lets so many connections in and then holds the next one, until it is opened again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class Gate:
    """Passes connections on to `port`; from number `held_from` on they wait at the door."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._behind = (host, port)
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.held_from = 1_000_000
        self.came = 0
        self.holds = threading.Event()
        self._start(self._let_in)

    def close(self) -> None:
        """End everything."""
        # What waits in accept() is not woken by closing.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for opened in (self._listener, *self._sockets):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for opened in (self._listener, *self._sockets):
            opened.close()

    def hold(self, number: int) -> None:
        """Let `number - 1` more connections in, and hold the one after."""
        self.holds.clear()
        self.came = 0
        self.held_from = number

    def open(self) -> None:
        """Let everybody in again; who waits at the door is sent away by its own time limit."""
        self.held_from = 1_000_000

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _let_in(self) -> None:
        while True:
            try:
                outside, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(outside)
            self.came += 1
            if self.came >= self.held_from:
                self.holds.set()
                continue
            inside = socket.create_connection(self._behind)
            self._sockets.append(inside)
            self._start(_pump, outside, inside)
            self._start(_pump, inside, outside)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65_536):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
