"""Ports that break off: before or after the n-th call of the store or act in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Crash(BaseException):
    """The process has ended."""


class Points:
    """Counts the points that are passed; at number `crash_at` the process ends, for this once."""

    def __init__(self) -> None:
        self.crash_at: int | None = None
        self.names: list[str] = []
        self.is_dead = False

    def begin(self, crash_at: int | None) -> None:
        """Be another process, which ends at that point."""
        self.crash_at, self.names, self.is_dead = crash_at, [], False

    def during(self, name: str, act: Callable[[], Any]) -> Any:
        self._reach(f"before {name}")
        done = act()
        self._reach(f"after {name}")
        return done

    def _reach(self, name: str) -> None:
        if self.is_dead:
            raise Crash
        self.names.append(name)
        if len(self.names) - 1 == self.crash_at:
            self.is_dead = True
            raise Crash


class BreakingStore:
    """A store, each call of which is two points."""

    def __init__(self, store: Any, points: Points) -> None:
        self._store, self._points = store, points

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)  # what the store cannot do, this one cannot either
        return lambda *given, **named: self._points.during(name, lambda: real(*given, **named))


class BreakingSessions:
    """Sessions, each act in which is two points. A dead process says no more: the server takes back what it began."""

    def __init__(self, sessions: Any, points: Points) -> None:
        self._sessions, self._points = sessions, points

    def open(self, login: Any, place: Any) -> Any:
        opened: list[Any] = []

        def act() -> Any:
            opened.append(self._sessions.open(login, place))
            return _BreakingSession(opened[0], self._points)

        try:
            return self._points.during("log in", act)
        except Crash:
            for session in opened:
                session.close()
            raise


class _BreakingSession:
    def __init__(self, session: Any, points: Points) -> None:
        self._session, self._points = session, points

    def execute(self, statement: str, *values: Any) -> Any:
        return self._points.during(f"execute {statement[:24]}", lambda: self._session.execute(statement, *values))

    def verifier(self, login: Any) -> Any:
        return self._session.verifier(login)

    def commit(self) -> None:
        self._points.during("commit", self._session.commit)

    def close(self) -> None:
        self._session.close()
