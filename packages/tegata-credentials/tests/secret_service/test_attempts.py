"""A refused credential: read again, wait for a rotation within a budget, the pending one if allowed, give up."""

from __future__ import annotations

import asyncio

import pytest

from tegata_credentials.errors import SecretAccessDenied, SecretUnavailable
from tegata_credentials.secret_service import CachePolicy, Login, LoginRefused, SecretService
from tegata_credentials.versions import PENDING

from .scripted import login

pytestmark = pytest.mark.anyio


class Refusal(Exception):
    """What a driver raises."""


class Server:
    """Lets in whoever knows one of the passwords, and counts refusals."""

    def __init__(self, *passwords: str) -> None:
        self.passwords = set(passwords)
        self.refused = 0

    def enter(self, password: str) -> str:
        if password in self.passwords:
            return f"in with {password}"
        self.refused += 1
        raise Refusal

    def connect(self, offer) -> str:
        return self.enter(offer.value.password.get_secret_value())

    async def aconnect(self, offer) -> str:
        await asyncio.sleep(0)
        return self.connect(offer)


@pytest.fixture(autouse=True)
def first_version(store):
    store.put("db", login("one"), "v1")


@pytest.fixture(params=["run", "arun"])
def run(request, service):
    """Runs an attempt in a thread or in an event loop: the rules are the same."""

    def call(server: Server, **options) -> str:
        if request.param == "run":
            return service.run(service.use("db", Login, **options), server.connect, refusals=Refusal)
        attempt = service.arun(service.use("db", Login, **options), server.aconnect, refusals=Refusal)
        return asyncio.run(attempt)

    return call


def test_a_credential_that_works_is_used_from_memory(run, store, clock):
    assert [run(Server("one")) for _ in range(3)] == ["in with one"] * 3
    assert (len(store.calls), clock.pauses) == (1, [])


def test_a_refused_one_is_read_again_and_the_new_one_is_tried_at_once(run, service, store, clock):
    service.get("db", Login)
    store.put("db", login("two"), "v2")
    server = Server("two")
    assert run(server) == "in with two"
    assert (server.refused, len(store.calls), clock.pauses) == (1, 2, [])


def test_the_same_version_is_waited_for_across_a_rotation(run, store, clock):
    clock.on_pause = lambda: clock.ticks >= 1001.5 and store.put("db", login("two"), "v2")
    server = Server("two")
    assert run(server) == "in with two"
    assert server.refused == 1
    assert clock.pauses == [0.25, 0.5, 1.0]
    assert len(store.calls) == 5


def test_the_wait_ends_with_the_budget_and_the_last_refusal(run, clock, store):
    server = Server("elsewhere")
    with pytest.raises(Refusal):
        run(server)
    assert server.refused == 1
    assert clock.pauses == [0.25, 0.5, 1.0, 2.0, 1.25]
    assert len(store.calls) == 7


def test_a_budget_of_nothing_reads_once_again_and_no_more(run, clock, store):
    with pytest.raises(Refusal):
        run(Server("elsewhere"), budget=0.0)
    assert (clock.pauses, len(store.calls)) == ([], 2)


def test_the_pending_one_is_tried_last_if_that_is_allowed(run, store, clock):
    store.put("db", login("two"), "v2", PENDING)
    assert run(Server("two"), allow_pending=True) == "in with two"
    assert sum(clock.pauses) > 3.0


def test_the_pending_one_is_not_tried_otherwise(run, store):
    store.put("db", login("two"), "v2", PENDING)
    with pytest.raises(Refusal):
        run(Server("two"))


def test_a_pending_one_that_is_refused_too_ends_it(run, store):
    store.put("db", login("two"), "v2", PENDING)
    server = Server("elsewhere")
    with pytest.raises(Refusal):
        run(server, allow_pending=True)
    assert server.refused == 2


def test_without_a_pending_one_it_ends_with_the_refusal(run):
    with pytest.raises(Refusal):
        run(Server("elsewhere"), allow_pending=True)


def test_a_pending_one_of_an_earlier_rotation_is_not_remembered(run, store, clock):
    store.put("db", login("two"), "v2", PENDING)
    run(Server("two"), allow_pending=True)
    clock.pass_by(60.0)
    store.put("db", login("three"), "v3", PENDING)
    server = Server("three")
    assert run(server, allow_pending=True) == "in with three"
    assert server.refused == 1


@pytest.mark.parametrize("error", [SecretUnavailable, SecretAccessDenied])
def test_a_refused_value_is_not_tried_again_when_the_store_does_not_answer(run, service, store, error):
    service.get("db", Login)
    store.fail("db", error("db"))
    server = Server("elsewhere")
    with pytest.raises(error):
        run(server)
    assert server.refused == 1


def test_every_other_error_passes_through(service):
    def fail(_) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        service.run(service.use("db", Login), fail, refusals=Refusal)
    assert service.get_version("db").version == "v1"


def test_a_hundred_that_are_refused_at_once_share_each_read(store, memory):
    service = SecretService(store, observer=memory, policy=CachePolicy(budget=0.0))
    server = Server("two")

    async def crowd() -> list[str]:
        attempts = [service.arun(service.use("db", Login), server.aconnect, refusals=Refusal) for _ in range(100)]
        await service.aget("db", Login)
        store.put("db", login("two"), "v2")
        return await asyncio.gather(*attempts)

    assert asyncio.run(crowd()) == ["in with two"] * 100
    assert server.refused == 100
    assert len(store.calls) == 2
    service.close()


class TestUse:
    def test_says_what_is_offered(self, service, store, clock):
        with service.use("db", Login) as offer:
            assert (offer.value.username, offer.version, offer.stale) == ("app_a", "v1", False)
            assert repr(offer) == "<Offer of version v1>"

    def test_changes_the_offer_when_it_is_refused(self, service, store):
        with service.use("db", Login) as offer:
            store.put("db", login("two", "app_b"), "v2")
            offer.refused()
            assert (offer.value.username, offer.version) == ("app_b", "v2")

    async def test_changes_the_offer_in_asyncio_too(self, service, store):
        async with service.use("db", Login) as offer:
            store.put("db", login("two", "app_b"), "v2")
            await offer.refused()
            assert (offer.value.username, offer.version) == ("app_b", "v2")

    def test_raises_when_there_is_no_other(self, service):
        with pytest.raises(LoginRefused, match="no other"), service.use("db", Login, budget=0.0) as offer:
            offer.refused()

    async def test_raises_in_asyncio_too(self, service):
        with pytest.raises(LoginRefused, match="no other"):
            async with service.use("db", Login, budget=0.0) as offer:
                await offer.refused()

    def test_left_by_a_refusal_the_next_one_reads_again(self, service, store):
        service.get("db", Login)
        store.put("db", login("two"), "v2")
        with pytest.raises(LoginRefused), service.use("db", Login):
            raise LoginRefused
        with service.use("db", Login) as offer:
            assert offer.version == "v2"

    def test_left_without_error_the_version_is_trusted_again(self, service, store, clock):
        with service.use("db", Login, budget=0.0) as offer, pytest.raises(LoginRefused):
            offer.refused()
        assert service.invalidate("db", if_version="v1"), "the pause after a confirmation is over"

    def test_knows_the_models_of_the_three(self, store, clock):
        store.put("database", login("one") | {"host": "db.example.com", "dbname": "shop"}, "v1")
        service = SecretService(store, timing=clock.timing())
        with service.use("database") as offer:
            assert offer.value.host == "db.example.com"
        service.close()
