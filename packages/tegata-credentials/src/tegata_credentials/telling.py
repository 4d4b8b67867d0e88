"""What threads of this package say to a program's log and observers; they fall silent before the process ends.

They are daemon threads, so that a program which ends waits for no store of secrets. A daemon thread that is taken off
the interpreter in the middle of a write keeps the lock of that stream for ever, and CPython then aborts the whole
process: `_enter_buffered_busy: could not acquire lock … at interpreter shutdown` (CPython issue 86883).
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

PATIENCE_SECONDS = 1.0
"""So long the end of a process waits for what is just being said."""


class Telling:
    """Calls what says something, until the end.

    >>> telling = Telling()
    >>> telling.tell(lambda: print("a secret was read"))
    a secret was read
    >>> telling.end()
    >>> telling.tell(lambda: print("too late"))
    """

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        """Begin anew, also in a forked process: whoever was speaking has stayed behind."""
        self._condition = threading.Condition()
        self._speaking = 0
        self._is_over = False

    def tell(self, say: Callable[[], None]) -> None:
        """Call `say`, or nothing if the process is ending. Raises what it raises."""
        with self._condition:
            if self._is_over:
                return
            self._speaking += 1
        try:
            say()
        finally:
            with self._condition:
                self._speaking -= 1
                self._condition.notify_all()

    def end(self, patience: float | None = None) -> None:
        """Let nobody begin to speak any more, and wait `patience` seconds for those who do, or the usual while."""
        with self._condition:
            self._is_over = True
            self._condition.wait_for(lambda: self._speaking <= 0, PATIENCE_SECONDS if patience is None else patience)


_TELLING = Telling()
tell = _TELLING.tell
atexit.register(_TELLING.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_TELLING._restart)
