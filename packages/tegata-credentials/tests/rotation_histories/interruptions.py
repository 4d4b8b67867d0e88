"""Where a rotation can be interrupted, and by what: before and after each call of the store and each act in a database.

One invocation is one process: after a `Crash` nothing that it still tries to do has an effect, not even tidying up.
What happens at a point runs in the same thread, in the middle of the step, so that a history can be told again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from tegata_credentials.errors import SecretThrottled, SecretUnavailable
from tegata_credentials.rotation.errors import DatabaseConnectionError
from tegata_credentials.rotation.ports import AnnouncingStore, Labels, Strategy, Versions, VersionStore
from tegata_credentials.rotation.postgres.secret import Login, Place
from tegata_credentials.rotation.postgres.sessions import Session, Sessions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

Done = TypeVar("Done")


class Crash(BaseException):
    """The process is gone: no handler of the product's sees it, as none would."""


class Cut(Exception):
    """A call fails; each port says it in its own words. What was asked for may have been done all the same."""

    def __init__(self, *, is_throttled: bool = False) -> None:
        super().__init__()
        self.is_throttled = is_throttled


@dataclass(slots=True)
class Points:
    """The points that one invocation passes, in order. `plan`: what happens at which, by number."""

    plan: Mapping[int, Callable[[], None]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    applies: str | None = None
    """The token whose value is being put to use: a label may have left it meanwhile."""
    is_running: bool = False
    is_dead: bool = False
    broken: AssertionError | None = None

    @property
    def is_about_to_commit(self) -> bool:
        """Whether it has had its last look at the labels, and has only the commit of a password before it."""
        last = self.names[-1] if self.names else ""
        return self.is_running and (last == "commit: before" or (self.applies is not None and last == "labels: after"))

    def reach(self, name: str) -> None:
        """Pass a point, unless something happens there."""
        if self.is_dead:
            raise Crash
        self.names.append(name)
        happens = self.plan.get(len(self.names) - 1)
        if happens is not None:
            try:
                happens()
            except Crash:
                self.is_dead = True
                raise
            except AssertionError as error:
                # No handler of the product's may see it either: it is kept, and the process ends.
                self.is_dead, self.broken = True, error
                raise Crash from None

    def during(self, name: str, act: Callable[[], Done]) -> Done:
        """Do something that can be interrupted before it, or after it although it has been done."""
        self.reach(f"{name}: before")
        done = act()
        self.reach(f"{name}: after")
        return done


@dataclass(slots=True)
class Announced:
    """What the wrapped ports tell the ledger: facts that no interruption can hide from it."""

    put: Callable[[HiddenText], None]
    kept: Callable[[str, HiddenText], None]
    promoted: Callable[[str, str], None]
    tested: Callable[[str, bool], None]


class InterruptedStore:
    """A store of versions, every call of which is two points. Each invocation has one of its own."""

    def __init__(self, store: VersionStore, points: Points, announced: Announced) -> None:
        self._store = store
        self._points = points
        self._announced = announced

    def labels(self, secret: str) -> Labels:
        return self._during(secret, "labels", lambda: self._store.labels(secret))

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        return self._during(secret, "read", lambda: self._store.read(secret, stage=stage, version=version))

    def put_pending(self, secret: str, token: str, text: HiddenText) -> None:
        def put() -> None:
            # Told first: a value that is being written may be anywhere already.
            self._announced.put(text)
            self._store.put_pending(secret, token, text)
            self._announced.kept(token, text)

        self._during(secret, "put", put)

    def promote(self, secret: str, token: str, *, replacing: str) -> None:
        def promote() -> None:
            self._store.promote(secret, token, replacing=replacing)
            self._announced.promoted(token, replacing)

        self._during(secret, "promote", promote)

    def close(self) -> None:
        """The store is shared by all invocations of a history."""

    def _during(self, secret: str, name: str, act: Callable[[], Done]) -> Done:
        try:
            return self._points.during(name, act)
        except Cut as cut:
            failure = SecretThrottled(secret) if cut.is_throttled else SecretUnavailable(secret, "timeout")
        raise failure


class AnnouncingInterruptedStore(InterruptedStore):
    """The same for a store that can be told of a rotation before there is a value."""

    def announce(self, secret: str, token: str) -> None:
        self._during(secret, "announce", lambda: cast("AnnouncingStore", self._store).announce(secret, token))


class InterruptedSessions:
    """Sessions with a database, every act of which is two points. `seen_from_here` may lead to another server."""

    def __init__(
        self,
        sessions: Sessions,
        points: Points,
        seen_from_here: Callable[[Place], Place],
        said: Callable[[str, str | None], None],
        until_unlocked: Callable[[], None],
    ) -> None:
        self._until_unlocked = until_unlocked
        self._sessions = sessions
        self._points = points
        self._seen_from_here = seen_from_here
        self._said = said

    def open(self, login: Login, place: Place) -> Session:
        opened: list[Session] = []
        try:
            self._points.during("log in", lambda: opened.append(self._open(login, place)))
        except BaseException as error:
            for session in opened:
                session.close()
            if isinstance(error, Cut):
                raise DatabaseConnectionError("the connection broke") from None
            raise
        return _InterruptedSession(opened[0], self._points, self._said, self._until_unlocked)

    def _open(self, login: Login, place: Place) -> Session:
        return self._sessions.open(login, self._seen_from_here(place))


class _InterruptedSession:
    def __init__(
        self,
        session: Session,
        points: Points,
        said: Callable[[str, str | None], None],
        until_unlocked: Callable[[], None],
    ) -> None:
        self._until_unlocked = until_unlocked
        self._has_lock = False
        self._session = session
        self._points = points
        self._said = said
        self._statements: list[str] = []

    def execute(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        def execute() -> Sequence[tuple[Any, ...]]:
            found = self._session.execute(statement, *values)
            self._has_lock |= "advisory_xact_lock" in statement and found[0][0]
            self._has_lock &= statement != "rollback"
            return found

        self._statements.append(statement)
        return self._during("statement", execute)

    def verifier(self, login: Login) -> HiddenText:
        return self._session.verifier(login)

    def commit(self) -> None:
        def commit() -> None:
            for statement in self._statements:
                self._said(statement, self._points.applies)
            self._session.commit()
            self._has_lock = False

        self._during("commit", commit)

    def close(self) -> None:
        # Also in a process that is gone: then the operating system does it, and the server takes note sooner or later.
        self._session.close()
        if self._has_lock:
            self._until_unlocked()

    def _during(self, name: str, act: Callable[[], Done]) -> Done:
        try:
            return self._points.during(name, act)
        except Cut:
            self._session.close()
        raise DatabaseConnectionError("the connection broke")


class InterruptedStrategy:
    """A strategy whose tests are written down, so that what is promoted can be compared with what was tested."""

    def __init__(self, strategy: Strategy, points: Points, announced: Announced) -> None:
        self._strategy = strategy
        self._points = points
        self._announced = announced

    def create(self, versions: Versions) -> HiddenText:
        return self._strategy.create(versions)

    def apply(self, versions: Versions) -> None:
        self._points.applies = versions.token
        self._strategy.apply(versions)

    def test(self, versions: Versions) -> None:
        self._noted(versions.token, lambda: self._strategy.test(versions))

    def may_return_to(self, versions: Versions) -> None:
        assert versions.previous is not None
        self._noted(versions.previous.version, lambda: self._strategy.may_return_to(versions))

    def _noted(self, version: str, test: Callable[[], None]) -> None:
        try:
            test()
        except Exception:
            self._announced.tested(version, False)
            raise
        self._announced.tested(version, True)


def crash() -> None:
    """End the process."""
    raise Crash


def throttled() -> None:
    """Let a call fail after its last retry."""
    raise Cut(is_throttled=True)


def no_answer() -> None:
    """Let a call fail that may have been done."""
    raise Cut
