"""Accounts: how they are found, and how guessing at them is counted."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tegata.identifiers import UserId
from tegata.identity.throttle import ThrottleBucket, ThrottleLimits
from tegata.storage.records import DesiredUser
from tegata.testing.records import NOW, World, new_digest

pytestmark = pytest.mark.anyio

LIMITS = ThrottleLimits(first_pause_seconds=2.0, longest_pause_seconds=300.0, window_seconds=900)


async def put(world: World, username: str, claims: dict[str, object], *, password: str | None = None) -> UserId:
    user_id = UserId(uuid4())
    desired = DesiredUser(username, claims, ("viewer",), password_hash=password)
    await world.operator.put_user(world.here.tenant_id, user_id, desired, events=[])
    return user_id


async def found(world: World, login: str) -> UserId | None:
    record = await world.storage.find_password(world.here.tenant_id, login)
    return record.user.user_id if record else None


async def test_a_username_is_found_in_any_spelling(world: World) -> None:
    user_id = await put(world, "Hanako", {}, password="$argon2id$1")
    for login in ("hanako", "HANAKO", "ｈａｎａｋｏ", " Hanako "):
        assert await found(world, login) == user_id
    record = await world.storage.find_password(world.here.tenant_id, "hanako")
    assert record is not None
    assert (record.user.username, record.password_hash) == ("Hanako", "$argon2id$1")
    assert await world.storage.find_password(world.there.tenant_id, "hanako") is None


async def test_an_address_is_found_if_it_is_verified_and_belongs_to_one(world: World) -> None:
    one = await put(world, "one", {"email": "One@Example.com", "email_verified": True})
    await put(world, "two", {"email": "two@example.com", "email_verified": False})
    await put(world, "three", {"email": "same@example.com", "email_verified": True})
    await put(world, "four", {"email": "same@example.com", "email_verified": True})
    assert await found(world, "one@example.com") == one
    assert await found(world, "two@example.com") is None
    assert await found(world, "same@example.com") is None


async def test_a_username_comes_before_an_address(world: World) -> None:
    await put(world, "holder", {"email": "name@example.com", "email_verified": True})
    owner = await put(world, "name@example.com", {})
    assert await found(world, "name@example.com") == owner


@pytest.mark.parametrize("login", ["", "\0", "a\0b", "\ud800", "'; drop table account; --", "x" * 10_000])
async def test_odd_input_finds_nobody(world: World, login: str) -> None:
    assert await found(world, login) is None


async def test_a_user_keeps_id_and_password_when_written_again(world: World) -> None:
    user_id = await put(world, "Hanako", {"name": "花子"}, password="$argon2id$1")
    await put(world, "hanako", {"name": "山田 花子"})
    user = await world.storage.get_user(world.here.tenant_id, user_id)
    assert user is not None
    assert (user.username, user.claims, user.roles) == ("hanako", {"name": "山田 花子"}, ("viewer",))
    record = await world.storage.find_password(world.here.tenant_id, "hanako")
    assert record is not None
    assert (record.user.user_id, record.password_hash) == (user_id, "$argon2id$1")
    assert await world.storage.get_user(world.there.tenant_id, user_id) is None


async def test_a_hash_is_replaced_in_its_tenant_only_and_if_it_is_still_the_same(world: World) -> None:
    user_id = await put(world, "hanako", {}, password="old")
    for tenant, old, expected in (
        (world.there, "old", "old"),
        (world.here, "older", "old"),
        (world.here, "old", "new"),
        (world.here, "old", "new"),
    ):
        await world.storage.update_password_hash(
            tenant.tenant_id, user_id, old=old, new="new" if old == "old" else "newer"
        )
        record = await world.storage.find_password(world.here.tenant_id, "hanako")
        assert record is not None
        assert record.password_hash == expected


async def test_of_a_thousand_parallel_guesses_the_free_ones_get_through(world: World) -> None:
    buckets = [ThrottleBucket(new_digest(), 5), ThrottleBucket(new_digest(), 50)]
    # Half of them name the buckets in the other order: a deadlock would show as an error.
    waits = await asyncio.gather(
        *(
            world.storage.count_attempt(world.here.tenant_id, buckets[:: 1 if number % 2 else -1], LIMITS, now=NOW)
            for number in range(1000)
        )
    )
    assert waits.count(0.0) == 5
    assert {wait for wait in waits if wait} == {2.0}
    assert await world.storage.count_attempt(world.there.tenant_id, buckets, LIMITS, now=NOW) == 0.0


async def test_pauses_grow_end_by_themselves_and_are_forgotten(world: World) -> None:
    bucket = [ThrottleBucket(new_digest(), 1)]

    async def attempt(now: float) -> float:
        return await world.storage.count_attempt(world.here.tenant_id, bucket, LIMITS, now=now)

    assert await attempt(NOW) == 0.0
    assert await attempt(NOW + 1) == pytest.approx(1.0)
    assert await attempt(NOW + 1) == pytest.approx(1.0)  # what had to wait was not counted
    assert await attempt(NOW + 2) == 0.0
    assert await attempt(NOW + 2) == pytest.approx(4.0)
    assert await attempt(NOW + 6) == 0.0
    assert await attempt(NOW + 7) == pytest.approx(7.0)
    assert await attempt(NOW + 6 + 901) == 0.0
    assert await attempt(NOW + 6 + 901 + 1) == pytest.approx(1.0)


async def test_a_success_clears_its_buckets(world: World) -> None:
    mine, other = ThrottleBucket(new_digest(), 1), ThrottleBucket(new_digest(), 1)
    storage, tenant_id = world.storage, world.here.tenant_id
    await storage.count_attempt(tenant_id, [mine, other], LIMITS, now=NOW)
    await storage.clear_attempts(world.there.tenant_id, [mine.key])
    assert await storage.count_attempt(tenant_id, [mine], LIMITS, now=NOW) > 0
    await storage.clear_attempts(tenant_id, [mine.key])
    assert await storage.count_attempt(tenant_id, [other], LIMITS, now=NOW) > 0
    assert await storage.count_attempt(tenant_id, [mine], LIMITS, now=NOW) == 0.0


async def test_an_attempt_that_is_taken_back_leaves_the_others_and_their_pause(world: World) -> None:
    bucket, storage, here = ThrottleBucket(new_digest(), 2), world.storage, world.here.tenant_id

    async def attempt(now: float) -> float:
        return await storage.count_attempt(here, [bucket], LIMITS, now=now)

    assert await attempt(NOW) == 0.0
    assert await attempt(NOW) == 0.0  # a pause of 2 seconds begins
    assert await attempt(NOW + 3) == 0.0
    await storage.take_back_attempt(world.there.tenant_id, [bucket.key], now=NOW + 3)
    assert await attempt(NOW + 3) == pytest.approx(4.0)
    await storage.take_back_attempt(here, [bucket.key], now=NOW + 3)
    assert await attempt(NOW + 3) == 0.0  # as if it had never been
    assert await attempt(NOW + 3) == pytest.approx(4.0)


async def test_taking_back_forgets_no_failure_that_came_after(world: World) -> None:
    bucket, storage, here = ThrottleBucket(new_digest(), 2), world.storage, world.here.tenant_id
    for now in (NOW, NOW + 1):
        assert await storage.count_attempt(here, [bucket], LIMITS, now=now) == 0.0
    await storage.take_back_attempt(here, [bucket.key], now=NOW)
    assert await storage.count_attempt(here, [bucket], LIMITS, now=NOW + 1) == 0.0
    assert await storage.count_attempt(here, [bucket], LIMITS, now=NOW + 1) == pytest.approx(2.0)


async def test_good_attempts_alone_leave_nothing_behind(world: World) -> None:
    bucket, storage, here = ThrottleBucket(new_digest(), 1), world.storage, world.here.tenant_id
    for number in range(5):
        assert await storage.count_attempt(here, [bucket], LIMITS, now=NOW + number) == 0.0
        await storage.take_back_attempt(here, [bucket.key], now=NOW + number)
    await storage.take_back_attempt(here, [bucket.key], now=NOW)
