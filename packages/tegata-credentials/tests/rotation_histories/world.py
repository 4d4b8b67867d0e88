"""What histories have in common, whatever the secret opens: a store, a clock, books, and processes that do steps."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tegata_credentials.rotation.driver import Patience, RotationDriver
from tegata_credentials.rotation.ports import CURRENT, PENDING, PREVIOUS, AnnouncingStore, Strategy
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing.leaks import text_of
from tegata_credentials.versions import SecretVersion

from .interruptions import Announced, AnnouncingInterruptedStore, InterruptedStore, InterruptedStrategy, Points
from .kits import Kit
from .ledger import Ledger


class Overheard:
    """An observer that keeps what it is told, as text."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def metric(self, name: str, value: float = 1, unit: str = "Count", **dimensions: str) -> None:
        self.said.append(f"{name} {value} {unit} {dimensions}")

    def audit(self, action: str, **facts: str) -> None:
        self.said.append(f"{action} {facts}")


class _Listener(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._said.append(f"{record.getMessage()} {vars(record)!r} {text_of(error) if error else ''}")


class World:
    """One secret and everything around it. Subclasses say what it opens and how it is rotated."""

    points: Mapping[str, int]
    """How many points each step has when nothing happens."""

    def __init__(self, kit: Kit, secret: str, ledger: Ledger) -> None:
        self.kit = kit
        self.clock = kit.clock
        self.secret = secret
        self.ledger = ledger
        self.walked: list[Points] = []
        self.client_operations = 0
        self.interfered: set[str] = set()
        self.observer = Overheard()
        self._listener = _Listener(self.observer.said)
        logging.getLogger("tegata_credentials").addHandler(self._listener)
        ledger.somebody_moved(self.current(), None)

    # -- what subclasses say

    def strategy(self, points: Points) -> Strategy:
        """Return the strategy of one process."""
        raise NotImplementedError

    def client_connects(self, client: int) -> None:
        """Let a client use the secret. Raises `Broken` (I8) if it sees an error."""
        raise NotImplementedError

    def happen(self, what: str) -> None:
        """Let something happen to what the secret opens."""

    def heal(self) -> None:
        """Mend all that has been broken, as an operator would in the end."""
        self.kit.undisturbed()

    def settle(self) -> None:
        """Wait until what follows by itself has followed."""

    def news(self) -> str:
        """Return what the servers have logged since this was last asked."""
        return ""

    # -- processes

    def invoke(self, token: str, step: str, points: Points) -> None:
        """Do one step in a new process."""
        self._process(points).handle({"SecretId": self.secret, "ClientRequestToken": token, "Step": step})

    def rollback(self, points: Points) -> None:
        """Do `tegata secrets rollback` in a new process.

        A rotation that has just been announced does not stop it. Should its value be made from the version that is left
        at this very moment, that value is of no use, and somebody has to begin anew.
        """
        self._driver(points).rollback(self.secret)
        self._interfere()

    def drive(self, points: Points) -> None:
        """Do `tegata secrets rotate` in a new process."""
        self._driver(points).rotate(self.secret)

    def _driver(self, points: Points) -> RotationDriver:
        store = self._interrupted(points)
        # Each retry is another delivery, which a history tells by itself.
        return RotationDriver(
            store,
            self._process(points),
            patience=Patience(attempts=1),
            observer=self.observer,
            pause=lambda _: None,
            now=self.clock,
        )

    def at_once(self, acts: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run these in threads of their own at the same time; return what each returned."""
        found: list[Any] = [None] * len(acts)
        start = threading.Barrier(len(acts))

        def run(number: int) -> None:
            start.wait(60)
            try:
                found[number] = acts[number]()
            except BaseException as error:  # noqa: BLE001 - raised below, in the thread that tells the history
                found[number] = _Raised(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(180)
            assert not thread.is_alive(), "a step did not end"
        for each in found:
            if isinstance(each, _Raised):
                raise each.error
        return found

    def _process(self, points: Points) -> Rotation:
        strategy = InterruptedStrategy(self.strategy(points), points, self._announced())
        store = self._interrupted(points)
        return Rotation(store, {self.secret: strategy}, observer=self.observer, ticks=self.clock)

    def _interrupted(self, points: Points) -> InterruptedStore:
        kind = AnnouncingInterruptedStore if isinstance(self.kit.store, AnnouncingStore) else InterruptedStore
        return kind(self.kit.store, points, self._announced())

    def _announced(self) -> Announced:
        announced = self.ledger.announced()

        def promoted(token: str, replacing: str) -> None:
            announced.promoted(token, replacing)
            # Given up after its last look, it has come through all the same: what was begun meanwhile may be no use.
            if self._holder(PENDING) != token:
                self._interfere()

        return replace(announced, promoted=promoted)

    # -- labels

    def current(self) -> str:
        """Return the current version."""
        found = self._holder(CURRENT)
        assert found is not None
        return found

    def unfinished(self) -> str | None:
        """Return the token of the rotation that is going on."""
        return self.kit.watched.labels(self.secret).unfinished

    def new_token(self) -> str:
        """Begin a rotation."""
        return self.kit.new_token(self.secret)

    def can_go_back_to(self, text: str) -> bool:
        """Whether a person who looks first would make this previous value current again."""
        return self.ledger.opened.refusal(text) is None

    def somebody_interfered(self, token: str) -> bool:
        """Whether a person has moved labels since this rotation began, so that its token may be no use any more."""
        return token in self.interfered

    def somebody(self, what: str) -> None:
        """Let a person, a machine or the network do something."""
        if what == "pending removed":
            if self.unfinished() is not None:
                self._interfere()
                self.kit.remove_pending(self.secret)
        elif what == "current moved":
            self._move_current()
        else:
            self.kit.disturb(what)
            self.happen(what)

    def observe(self) -> None:
        """Check I1 to I6."""
        self.kit.undisturbed()
        self.ledger.observe()
        said, self.observer.said[:] = "\n".join(self.observer.said), []
        self.ledger.check_silence(said, "logs or figures")
        self.ledger.check_silence(self.news(), "the log of a server")

    def close(self) -> None:
        """Leave everything as it was found."""
        logging.getLogger("tegata_credentials").removeHandler(self._listener)

    def _read(self, version: str) -> SecretVersion:
        return self.kit.watched.read(self.secret, version=version)

    def _holder(self, stage: str) -> str | None:
        return self.kit.watched.labels(self.secret).holder(stage)

    def _interfere(self) -> None:
        pending = self._holder(PENDING)
        if pending is not None:
            self.interfered.add(pending)

    def _move_current(self) -> None:
        """Go back by hand, to a value that works: what the runbook allows if all else fails.

        Not in the moment in which a process has had its last look and commits: no lock keeps a person out of that one.
        """
        if self.walked and self.walked[-1].is_about_to_commit:
            return
        current, previous = self.current(), self._holder(PREVIOUS)
        if previous is None or not self.can_go_back_to(self._read(previous).text):
            return
        self._interfere()
        self.kit.move_current(self.secret, previous, replacing=current)
        self.ledger.somebody_moved(previous, current)


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error
