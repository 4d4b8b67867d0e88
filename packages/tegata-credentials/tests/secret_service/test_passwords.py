"""The login of a database from a secret that rotates, as the adapters use it."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from tegata_credentials.errors import (
    IdentityUnavailable,
    SecretAccessDenied,
    SecretNotFound,
    SecretThrottled,
    SecretUnavailable,
)
from tegata_credentials.secret_service import SecretLogin, SyncSecretLogin
from tegata_credentials.versions import PENDING

from .scripted import login


class Both:
    """The asynchronous source behind the methods of the one for threads."""

    def __init__(self, source: SecretLogin) -> None:
        self.source = source
        self.accepted = source.accepted

    def current(self):
        return asyncio.run(self.source.current())

    def rejected(self, value: str) -> None:
        asyncio.run(self.source.rejected(value))

    def close(self) -> None:
        asyncio.run(self.source.close())


@pytest.fixture(params=["threads", "asyncio"])
def new_source(request, service):
    def build(**options):
        if request.param == "threads":
            return SyncSecretLogin(service, "db", **options)
        return Both(SecretLogin(service, "db", **options))

    return build


@pytest.fixture
def source(new_source, store):
    store.put("db", login("one"), "v1")
    return new_source()


def refuse(source) -> str:
    """Log in, be refused, and return what is offered next, as an adapter does."""
    value = source.current()
    source.rejected(str(value))  # a driver knows the text only
    return source.current()


def test_user_and_password_come_together(source):
    password = source.current()
    assert (password, password.user, repr(password)) == ("one", "app_a", "'***'")


def test_a_refused_password_is_replaced_by_the_new_user_and_password(source, store, clock):
    source.current()
    store.put("db", login("two", "app_b"), "v2")
    found = refuse(source)
    assert (found, found.user, clock.pauses) == ("two", "app_b", [])


def test_a_rotation_under_way_is_waited_for(source, store, clock):
    clock.on_pause = lambda: clock.ticks >= 1001.5 and store.put("db", login("two"), "v2")
    assert refuse(source) == "two"
    assert clock.pauses == [0.25, 0.5, 1.0]


def test_the_pending_password_is_the_last_resort_if_allowed(new_source, store, clock):
    store.put("db", login("one"), "v1")
    store.put("db", login("two", "app_b"), "v2", PENDING)
    source = new_source(allow_pending=True)
    found = refuse(source)
    assert (found, found.user) == ("two", "app_b")
    pauses = len(clock.pauses)
    assert source.current() == "two", "the next login is refused with the old one first"
    assert len(clock.pauses) == pauses


def test_the_stand_in_ends_when_the_current_version_is_another(new_source, service, store):
    store.put("db", login("one"), "v1")
    store.put("db", login("two"), "v2", PENDING)
    source = new_source(allow_pending=True)
    assert refuse(source) == "two"
    store.put("db", login("three"), "v3")
    service.invalidate("db")
    assert source.current() == "three"


def test_a_pending_password_that_is_refused_is_not_offered_again(new_source, store):
    store.put("db", login("one"), "v1")
    store.put("db", login("two"), "v2", PENDING)
    source = new_source(allow_pending=True)
    assert refuse(source) == "two"
    source.rejected("two")
    assert source.current() == "one"
    assert refuse(source) == "one"


def test_without_another_the_current_one_is_offered_so_that_the_refusal_is_seen(source, clock):
    assert refuse(source) == "one"
    assert sum(clock.pauses) <= 5.0


def test_a_password_that_is_always_refused_costs_the_budget_and_soon_no_more_than_one_read(source, store, clock):
    refuse(source)
    for _ in range(20):
        refuse(source)
    began, calls = clock.ticks, len(store.calls)
    for _ in range(100):
        refuse(source)
    assert clock.ticks - began <= 100 * 5.0
    assert len(store.calls) - calls <= 100


def test_a_rotation_that_ends_after_many_refusals_is_noticed_by_the_next_one(source, store, clock):
    for _ in range(20):
        refuse(source)
    value = source.current()
    store.put("db", login("two"), "v2")
    source.rejected(value)
    began = clock.ticks
    assert source.current() == "two"
    assert clock.ticks - began <= 5.0


def test_what_was_refused_once_and_accepted_since_is_taken_at_once_after_a_rollback(source, service, store, clock):
    refuse(source)
    source.accepted("one")
    store.put("db", login("two"), "v2")
    service.invalidate("db")
    assert source.current() == "two"
    store.put("db", login("one"), "v1")
    pauses = len(clock.pauses)
    assert refuse(source) == "one"
    assert len(clock.pauses) == pauses


def test_nobody_else_is_given_a_version_that_was_refused_before_the_store_has_confirmed_it(source, service, store):
    value = source.current()
    store.put("db", login("two"), "v2")
    source.rejected(value)
    assert service.get_version("db").version == "v2"


def test_an_accepted_login_ends_the_suspicion(source, store, clock):
    refuse(source)
    source.accepted("one")
    store.put("db", login("two"), "v2")
    assert refuse(source) == "two"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SecretUnavailable, "unreachable"),
        (SecretThrottled, "failing"),
        (SecretNotFound, "not_configured"),
        (SecretAccessDenied, "refused"),
    ],
)
def test_a_refused_password_is_not_turned_on_again_when_the_store_fails(source, store, clock, error, reason):
    value = source.current()
    store.fail("db", error("db", "why"))
    source.rejected(value)
    for _ in range(3):
        with pytest.raises(IdentityUnavailable, match="why") as caught:
            source.current()
        assert caught.value.reason == reason
        assert caught.value.__context__ is None
        clock.pass_by(100.0)
    store.put("db", login("two"), "v2")
    clock.pass_by(100.0)
    assert source.current() == "two"


def test_a_password_that_has_been_replaced_already_changes_nothing_when_refused(source, service, store):
    old = source.current()
    store.put("db", login("two"), "v2")
    service.invalidate("db")
    assert source.current() == "two"
    calls = len(store.calls)
    source.rejected(old)
    assert source.current() == "two"
    assert len(store.calls) == calls


def test_a_known_password_serves_while_the_store_fails(source, store, clock):
    source.current()
    store.fail("db", SecretUnavailable("db"))
    clock.pass_by(1000.0)
    assert source.current() == "one"


def test_a_secret_without_a_password_is_told_by_field(source, store):
    store.put("db", {"username": "app_a"}, "v1")
    with pytest.raises(IdentityUnavailable, match="password: missing") as caught:
        source.current()
    assert caught.value.reason == "bad_answer"


def test_of_a_hundred_that_are_refused_at_once_the_first_reads(service, store):
    store.put("db", login("one"), "v1")
    source = SecretLogin(service, "db")

    async def connect() -> str:
        value = await source.current()
        await asyncio.sleep(0)
        store.put("db", login("two"), "v2")
        await source.rejected(value)
        return await source.current()

    async def crowd() -> list[str]:
        return await asyncio.gather(*(connect() for _ in range(100)))

    assert asyncio.run(crowd()) == ["two"] * 100
    assert len(store.calls) == 2


def test_closing_leaves_the_service_open(source, service):
    source.close()
    assert service.get_version("db").version == "v1"
    assert source.current() == "one"


def test_the_source_is_neither_shown_nor_pickled(service, store):
    store.put("db", login("one"), "v1")
    source = SyncSecretLogin(service, "db")
    assert (repr(source), source.auth_method) == ("<SyncSecretLogin from db>", "secret")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(source)


def test_a_refusal_during_the_wait_of_another_is_not_forgotten(service, store, clock):
    """One waits for a version after the first; it comes, and is refused to somebody else before the wait has ended."""
    store.put("db", login("one"), "v1")
    source = SyncSecretLogin(service, "db")
    other = SyncSecretLogin(service, "db")

    def rotate_and_refuse() -> None:
        if clock.ticks < 1000.5:
            return
        clock.on_pause = lambda: clock.ticks >= 1003.0 and store.put("db", login("three"), "v3")
        store.put("db", login("two"), "v2")
        service.invalidate("db")
        assert other.current() == "two"
        source.rejected("two")

    clock.on_pause = rotate_and_refuse
    assert refuse(source) == "two"
    assert source.current() == "three"


@pytest.mark.parametrize("failure", [SecretThrottled("db"), SecretUnavailable("db")], ids=["throttled", "away"])
def test_a_store_that_fails_at_the_moment_of_a_refusal_is_waited_for_within_the_budget(
    new_source, store, clock, failure
):
    store.put("db", login("one"), "v1")
    source = new_source(budget=30.0)
    value = source.current()
    store.fail("db", failure)

    def recover() -> None:
        if len(clock.pauses) == 2:
            store.put("db", login("two", "app_b"), "v2")

    clock.on_pause = recover
    source.rejected(str(value))
    assert source.current().user == "app_b"


def test_a_store_that_fails_for_longer_than_the_budget_is_what_the_caller_hears_of(new_source, store, clock):
    store.put("db", login("one"), "v1")
    source = new_source(budget=20.0)
    value = source.current()
    store.fail("db", SecretUnavailable("db"))
    source.rejected(str(value))
    with pytest.raises(IdentityUnavailable):
        source.current()
    assert sum(clock.pauses) <= 20.0


def test_who_was_not_refused_waits_with_who_was_while_the_store_fails(new_source, store, clock):
    store.put("db", login("one"), "v1")
    refused, other = new_source(budget=30.0), new_source(budget=30.0)
    value = refused.current()
    other.current()
    store.fail("db", SecretUnavailable("db"))
    refused.rejected(str(value))
    clock.on_pause = lambda: store.put("db", login("two", "app_b"), "v2") and None
    assert other.current().user == "app_b"


def test_a_store_that_fails_before_anything_was_read_is_not_waited_for(new_source, store, clock):
    store.fail("db", SecretUnavailable("db"))
    with pytest.raises(IdentityUnavailable):
        new_source(budget=30.0).current()
    assert clock.pauses == []


def test_a_pending_version_is_found_although_there_was_none_a_moment_ago(new_source, store, clock):
    store.put("db", login("one"), "v1")
    source = new_source(allow_pending=True, budget=0.0)
    source.rejected(str(source.current()))
    assert source.current() == "one"  # the store confirms it, and nothing is pending
    clock.pass_by(1.0)
    store.put("db", login("two"), "v2", PENDING)
    source.rejected("one")
    assert source.current() == "two"
