"""A process that ends anywhere in a rotation, two of them at the same time, and rotations that are given up."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest

from tegata_credentials.rotation.errors import RotationBusy, RotationError, RotationRefused
from tegata_credentials.rotation.postgres.change import lock_key
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS

from .breaking import BreakingSessions, BreakingStore, Crash, Points
from .deliveries import deliver_at_once
from .worlds import STEPS, make_world


def breaking_world(server, points, **more):
    return make_world(
        server,
        wrap_sessions=lambda sessions: BreakingSessions(sessions, points),
        wrap_store=lambda store: BreakingStore(store, points),
        **more,
    )


@pytest.fixture(scope="module")
def points_of_a_rotation(started):
    points = Points()
    world = breaking_world(started(18), points)
    world.rotate()
    return points.names


def test_a_rotation_passes_every_kind_of_point(points_of_a_rotation):
    names = set(points_of_a_rotation)
    assert {f"{when} {what}" for when in ("before", "after") for what in ("put_pending", "promote", "commit")} <= names
    assert sum(name.startswith("before execute") for name in points_of_a_rotation) >= 7


@pytest.mark.parametrize("half", [0, 1], ids=["with the same token", "with another token"])
def test_after_a_crash_anywhere_both_old_logins_work_and_a_retry_completes(started, points_of_a_rotation, half):
    server = started(18)
    points = Points()
    world = breaking_world(server, points)
    for crash_at in range(half, len(points_of_a_rotation), 2):
        where = points_of_a_rotation[crash_at]
        before, token = world.document(), world.announce()
        points.begin(crash_at)
        with pytest.raises(Crash):
            world.rotate(token)
        points.begin(None)
        server.until_unlocked()
        assert server.lets_in(world.document()), where
        assert server.lets_in(before), where
        if half and world.version() != token:
            world.store.move(world.secret, PENDING, None)
            token = world.announce()
        world.rotate(token)
        assert (world.version(), world.document(PREVIOUS)) == (token, before), where
        assert server.lets_in(world.document()), where
        assert server.lets_in(before), where


def test_the_same_delivery_many_times_at_once_ends_well(server, new_world):
    world = new_world(server)
    before, token = world.document(), world.announce()
    failures = deliver_at_once(4, lambda step: world.do(step, token))
    assert [error for error in failures if not isinstance(error, RotationBusy)] == []  # another one does it then
    world.rotate(token)
    assert server.lets_in(world.document())
    assert server.lets_in(before)


def test_while_somebody_holds_the_lock_of_the_secret_nothing_is_done(server, new_world):
    world = new_world(server)
    token = world.announce()
    world.do("createSecret", token)
    with psycopg.connect(server.admin.psycopg_conninfo()) as other:
        other.execute("select pg_advisory_lock(%s)", [lock_key(world.secret)])
        with pytest.raises(RotationBusy):
            world.do("setSecret", token)
        assert server.verifier_of(world.pair.second) is None
    server.until_unlocked()
    world.do("setSecret", token)
    assert server.lets_in(world.document(PENDING))


def test_locks_of_different_secrets_do_not_touch(server, new_world):
    world, other = new_world(server), new_world(server)
    assert lock_key(world.secret) != lock_key(other.secret)
    assert -(2**63) <= lock_key(world.secret) < 2**63
    token = world.announce()
    world.do("createSecret", token)
    with psycopg.connect(server.admin.psycopg_conninfo()) as session:
        session.execute("select pg_advisory_lock(%s)", [lock_key(other.secret)])
        world.do("setSecret", token)


class Interrupting:
    """Sessions that let something happen when the lock has been taken, before the check under it."""

    def __init__(self, sessions, before_lock):
        self._sessions, self._before_lock = sessions, before_lock

    def open(self, login, place):
        return _Interrupted(self._sessions.open(login, place), self._before_lock)


class _Interrupted:
    def __init__(self, session, before_lock):
        self._session, self._before_lock = session, before_lock

    def __getattr__(self, name):
        return getattr(self._session, name)

    def execute(self, statement, *values):
        found = self._session.execute(statement, *values)
        if "pg_try_advisory" in statement:
            self._before_lock()
        return found


def interrupted_world(server):
    happens = []
    world = make_world(
        server, wrap_sessions=lambda sessions: Interrupting(sessions, lambda: [act() for act in happens])
    )
    return world, happens


def test_a_token_that_is_given_up_meanwhile_changes_nothing(server):
    world, happens = interrupted_world(server)
    token = world.announce()
    world.do("createSecret", token)
    happens.append(lambda: world.store.move(world.secret, PENDING, None))
    with pytest.raises(RotationRefused, match="given up"):
        world.do("setSecret", token)
    assert server.verifier_of(world.pair.second) is None


def test_a_version_that_becomes_current_meanwhile_stops_the_change(server):
    world, happens = interrupted_world(server)
    token = world.announce()
    world.do("createSecret", token)
    rival = world.store.read(world.secret, version=token).text
    world.store.put_pending(world.secret, "rival", HiddenText(rival.replace(world.document(PENDING)["password"], "x")))
    world.store.move(world.secret, PENDING, token)
    happens.append(lambda: world.store.move(world.secret, CURRENT, "rival"))
    with pytest.raises(RotationBusy):
        world.do("setSecret", token)
    assert server.verifier_of(world.pair.second) is None


def test_a_late_twin_of_a_finished_rotation_breaks_nothing(server, new_world):
    """An invocation that was held up since the last rotation wants to set the password of who is current now."""
    world = new_world(server)
    first = world.rotate()
    late = world.strategy
    versions_then = []

    class Recording:
        def __getattr__(self, name):
            return getattr(late, name)

        def apply(self, versions):
            versions_then.append(versions)
            late.apply(versions)

    world.rotation._strategies[world.secret] = Recording()
    second = world.rotate()
    third = world.rotate()
    assert len({first, second, third, world.version()}) == 3
    with suppress(RotationError):
        late.apply(versions_then[0])  # of `second`, whose user is the previous one now
    assert server.lets_in(world.document(PREVIOUS))
    assert server.lets_in(world.document())


def test_steps_of_two_tokens_that_interleave_leave_current_alone(server, new_world):
    world = new_world(server)
    before = world.document()
    old = world.announce()
    world.do("createSecret", old)
    world.do("setSecret", old)
    world.store.move(world.secret, PENDING, None)
    new = world.announce()
    world.do("createSecret", new)
    for step in STEPS:
        with pytest.raises(RotationRefused):
            world.do(step, old)
    world.do("setSecret", new)
    for step in STEPS:
        with pytest.raises(RotationRefused):
            world.do(step, old)
    world.do("testSecret", new)
    world.do("finishSecret", new)
    assert world.version() == new
    assert server.lets_in(world.document())
    assert server.lets_in(before)
