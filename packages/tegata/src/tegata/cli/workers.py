"""Several server processes on one socket: started, replaced when one dies, and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import structlog

from tegata.cli.failures import OK, UNAVAILABLE, explain

# Between attempts to replace a worker that did not get as far as serving (a database that is away for a while).
_PAUSE_SECONDS = 2.0
_log = structlog.get_logger("tegata.workers")


@dataclass(frozen=True, slots=True)
class Parent:
    """A worker's view of the process that started it."""

    line: Connection

    def tell_started(self) -> None:
        """Say that this worker serves."""
        with contextlib.suppress(OSError):
            self.line.send(True)

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the running loop when the parent has died: its end of the line closes."""
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(self.line.fileno())
            callback()

        loop.add_reader(self.line.fileno(), gone)


Worker = Callable[[socket.socket, Parent], int]


def run(count: int, worker: Worker, listener: socket.socket) -> int:
    """Run `count` workers until SIGTERM or SIGINT, or until one cannot start."""
    pool = _Pool(worker, listener)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopped.append(number))
    for _ in range(count):
        pool.start()
    status = OK
    while not stopped and status == OK:
        status = pool.replace_dead()
    pool.stop()
    return status


@dataclass(slots=True)
class _Child:
    process: SpawnProcess
    line: Connection
    served: bool = False

    def listen(self) -> None:
        """Hear whether the worker serves. The line of a dead one is at its end, which also counts as readable."""
        with contextlib.suppress(EOFError, OSError):
            if not self.served and self.line.poll():
                self.line.recv()
                self.served = True


class _Pool:
    def __init__(self, worker: Worker, listener: socket.socket) -> None:
        self._spawn = multiprocessing.get_context("spawn")
        self._worker = worker
        self._listener = listener
        self._children: list[_Child] = []
        self._has_served = False

    def start(self) -> None:
        ours, theirs = self._spawn.Pipe()
        process = self._spawn.Process(target=_main, args=(self._worker, self._listener, theirs), name="tegata-worker")
        process.start()
        theirs.close()
        self._children.append(_Child(process, ours))

    def replace_dead(self) -> int:
        """Wait for a moment; start a new worker for each that has died.

        Not OK if none has ever served: then settings, schema or database are wrong, and trying again is no help.
        """
        wait([child.process.sentinel for child in self._children], timeout=0.5)
        for child in self._children:
            child.listen()
            self._has_served = self._has_served or child.served
        for child in [child for child in self._children if not child.process.is_alive()]:
            code = child.process.exitcode
            if not self._has_served:
                return code if code is not None and code > 0 else UNAVAILABLE
            _log.error("worker_died", pid=child.process.pid, status=code)
            child.line.close()
            self._children.remove(child)
            if not child.served:
                time.sleep(_PAUSE_SECONDS)
            self.start()
        return OK

    def stop(self) -> None:
        for child in self._children:
            child.process.terminate()  # SIGTERM: the worker drains by itself
        for child in self._children:
            child.process.join()


def _main(worker: Worker, listener: socket.socket, line: Connection) -> None:
    # Ctrl-C at a terminal reaches every process; the parent alone decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sys.exit(worker(listener, Parent(line)))
    except Exception as error:
        failure = explain(error)
        if failure is not None:
            print(f"tegata: {failure}", file=sys.stderr, flush=True)
            os._exit(failure.exit_code)
        raise
