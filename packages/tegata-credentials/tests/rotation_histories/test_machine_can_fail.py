"""The machine finds what it is there to find: each fault of an implementation, made on purpose, breaks an invariant.

Each of these is a fault of a well-known rotation function, or one that was made while this one was written.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from tegata_credentials.rotation.errors import TestFailed
from tegata_credentials.rotation.ports import Strategy, Versions
from tegata_credentials.rotation.postgres.alternating_users import AlternatingUsers
from tegata_credentials.rotation.postgres.secret import DatabaseSecret, next_value
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText

from .databases import HAPPENINGS, AlternatingWorld, SingleWorld
from .external import ExternalWorld
from .history import machine_of
from .interruptions import Points
from .kits import MemoryKit
from .ledger import Broken
from .profiles import options
from .servers import Servers
from .signing import SigningWorld
from .tally import Tally
from .world import World

_HISTORIES = 300  # at most: the first that breaks ends it
# Half of what happens in such a history, so that chance leads to the fault soon.
LAGS = ("replica lags",) * 8


def broken(new_world: Callable[[], World], happenings: tuple[str, ...] = HAPPENINGS) -> str:
    """Tell histories until one breaks; return what broke."""
    chosen = {**options(_HISTORIES), "phases": (Phase.generate,)}
    with pytest.raises((Broken, BaseExceptionGroup, Flaky)) as found:
        run_state_machine_as_test(machine_of(new_world, happenings, Tally()), settings=settings(**chosen))
    # Where two processes raced, the same history may break in two ways, of which Hypothesis tells both; or now and not
    # the other time, of which it complains while it handles what broke.
    error: BaseException | None = found.value
    while error is not None and not isinstance(error, Broken):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__context__
    assert isinstance(error, Broken)
    return str(error)


class _Changed:
    """A strategy of which one method is another."""

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strategy, name)


def alternating(servers: Servers, change: type[_Changed]) -> Callable[[], World]:
    """Return how to make worlds whose strategy is changed."""

    class Changed(AlternatingWorld):
        def strategy(self, points: Points) -> Strategy:
            return change(super().strategy(points))

    return lambda: Changed(MemoryKit(), servers)


class _ChangesTheCurrentUser(_Changed):
    """The user whose turn it is not."""

    def create(self, versions: Versions) -> HiddenText:
        current = DatabaseSecret.of(versions.current)
        return next_value(versions.current, current.login.username, HiddenText(secrets.token_urlsafe(32)))

    def apply(self, versions: Versions) -> None:
        strategy: AlternatingUsers = self._strategy
        pending, current = (DatabaseSecret.of(version) for version in (versions.pending, versions.current))
        session = strategy.administrator.open(strategy.sessions, current)
        try:
            verifier = session.verifier(pending.login)
            setter = f"select {strategy.pair.setter_schema}.set_verifier(%s, %s)"
            session.execute(setter, pending.login.username, str(verifier))
            session.commit()
        finally:
            session.close()


class _TestsNothing(_Changed):
    def test(self, versions: Versions) -> None:
        """Believe."""


class _AsksTheWriterOnly(_Changed):
    def test(self, versions: Versions) -> None:
        document = versions.pending.document()
        del document["readerHost"], document["readerPort"]
        shorter = replace(versions.pending, text=HiddenText(json.dumps(document)))
        self._strategy.test(replace(versions, pending=shorter))


class _TellsThePassword(_Changed):
    def test(self, versions: Versions) -> None:
        try:
            self._strategy.test(versions)
        except Exception as error:
            error.add_note(versions.pending.text)
            raise


class _SendsThePasswordInClear(_Changed):
    """`ALTER ROLE ... PASSWORD` as most functions have it: the server writes it down."""

    def apply(self, versions: Versions) -> None:
        strategy = self._strategy
        pending, current = (DatabaseSecret.of(version) for version in (versions.pending, versions.current))
        session = strategy.administrator.open(strategy.sessions, current)
        try:
            session.execute(f"alter role {pending.login.username} password '{pending.login.password}'")
            session.commit()
        finally:
            session.close()


def test_a_current_user_that_is_changed_is_found(pair_18: Servers):
    assert broken(alternating(pair_18, _ChangesTheCurrentUser)).startswith(("I1", "I8"))


def test_a_promotion_without_a_test_is_found(pair_18: Servers):
    assert broken(alternating(pair_18, _TestsNothing), LAGS).startswith(("I1", "I8"))


def test_a_reader_that_nobody_has_asked_is_found(pair_18: Servers):
    found = broken(alternating(pair_18, _AsksTheWriterOnly), LAGS)
    assert found == "I1: the current value is refused: by the reader"


def test_a_password_in_an_error_is_found(pair_18: Servers):
    assert broken(alternating(pair_18, _TellsThePassword), LAGS).startswith("I6: a value is in the text of")


def test_a_password_in_the_log_of_the_server_is_found(pair_18: Servers):
    class Clear(SingleWorld):
        def strategy(self, points: Points) -> Strategy:
            return _SendsThePasswordInClear(super().strategy(points))

    assert broken(lambda: Clear(MemoryKit(), pair_18)) == "I6: a value is in the log of a server"


class _Overwrites(MemoryVersions):
    """moto as it is: another value for the same token takes the place of the first."""

    def put_pending(self, secret: str, token: str, text: HiddenText) -> None:
        self._kept(secret).values.pop(token, None)
        super().put_pending(secret, token, text)


class _ForgetsPrevious(MemoryVersions):
    def promote(self, secret: str, token: str, *, replacing: str) -> None:
        super().promote(secret, token, replacing=replacing)
        self.move(secret, "AWSPREVIOUS", None)


def keys_in(store: type[MemoryVersions]) -> Callable[[], World]:
    """Return how to make worlds of signing keys in another store."""

    def new_world() -> World:
        kit = MemoryKit()
        kit._versions = store()
        kit.store = kit.watched = kit._versions
        return SigningWorld(kit)

    return new_world


def test_a_version_that_is_overwritten_is_found():
    assert broken(keys_in(_Overwrites), ()).startswith(("I3", "I8"))


def test_a_label_that_is_lost_is_found():
    assert broken(keys_in(_ForgetsPrevious), ()).startswith("I4: 0 versions are previous")


def test_a_key_that_is_withdrawn_at_once_is_found():
    class Hasty(ExternalWorld):
        def strategy(self, points: Points) -> Strategy:
            strategy: Any = super().strategy(points)

            class WithdrawsAtOnce(_Changed):
                def apply(self, versions: Versions) -> None:
                    strategy.apply(replace(versions, previous=None))
                    if versions.previous is not None:
                        strategy.revoke(strategy._key(versions.current))

            return WithdrawsAtOnce(strategy)

    assert broken(lambda: Hasty(MemoryKit()), ()).startswith(("I1", "I2", "I8"))


def test_a_key_that_signs_before_everybody_knows_it_is_found():
    class Hasty(SigningWorld):
        def strategy(self, points: Points) -> Strategy:
            return _TestsNothing(super().strategy(points))

    assert broken(lambda: Hasty(MemoryKit()), ()).startswith(("I1", "I2", "I8"))


def test_a_rotation_that_cannot_be_repeated_is_found():
    class Stubborn(ExternalWorld):
        def strategy(self, points: Points) -> Strategy:
            strategy = super().strategy(points)

            class OnceOnly(_Changed):
                def create(inner, versions: Versions) -> HiddenText:
                    if self.opened._made.get(versions.token):
                        raise TestFailed("made already")
                    return strategy.create(versions)

            return OnceOnly(strategy)

    assert broken(lambda: Stubborn(MemoryKit()), ()).startswith("I7")


def test_the_password_of_the_first_day_opens_nothing_else(pair_18: Servers):
    """What the machine takes for an opened door is one that a wrong key does not open."""
    world = AlternatingWorld(MemoryKit(), pair_18)
    text = world._read(world.current()).text
    assert world.opened.refusal(text) is None
    wrong = json.loads(text) | {"password": secrets.token_urlsafe(32)}
    assert world.opened.refusal(json.dumps(wrong)) == "by the writer"
    world.close()
