"""The process's cache of tenants and clients: one load at a time, nothing stale, nothing unbounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tegata.crypto.envelope import Envelope, new_master_key
from tegata.flows.directory import Cache, Directory
from tegata.identifiers import TenantId
from tegata.protocol.client import Client, ClientMetadata
from tegata.storage.errors import Unavailable
from tegata.storage.records import SigningKeyRecord, TenantRecord
from tegata.testing.clock import SetClock
from tegata.testing.relying_party import RelyingParty
from tegata.testing.server import Server

pytestmark = pytest.mark.anyio


class SlowLoad:
    """A load that ends when the test says so, and counts."""

    def __init__(self) -> None:
        self.started = 0
        self.value: object = "old"
        self.fails = False
        self._doors: list[asyncio.Event] = []

    async def __call__(self, key: str) -> object:
        self.started += 1
        seen, door = self.value, asyncio.Event()
        self._doors.append(door)
        await door.wait()
        if self.fails:
            raise Unavailable("no connection")
        return seen

    def finish(self) -> None:
        """Let every load that has begun end with what it saw when it began."""
        for door in self._doors:
            door.set()
        self._doors.clear()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def cache(clock: SetClock) -> Cache[str, object]:
    return Cache(clock, 30.0, 3)


async def begin(cache: Cache[str, object], load: SlowLoad, key: str = "a") -> asyncio.Task[object]:
    """Start a look-up and let it run until it waits."""
    task = asyncio.create_task(cache.get(key, load))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_one_load_serves_everybody_who_waits(cache: Cache[str, object]) -> None:
    load = SlowLoad()
    tasks = [await begin(cache, load) for _ in range(20)]
    load.finish()
    assert await asyncio.gather(*tasks) == ["old"] * 20
    assert load.started == 1
    assert await cache.get("a", load) == "old"
    assert load.started == 1


async def test_different_keys_load_side_by_side(cache: Cache[str, object]) -> None:
    load = SlowLoad()
    tasks = [await begin(cache, load, key) for key in "ab"]
    assert load.started == 2
    load.finish()
    await asyncio.gather(*tasks)


async def test_an_entry_ends_with_its_life(cache: Cache[str, object], clock: SetClock) -> None:
    load = SlowLoad()
    first = await begin(cache, load)
    load.finish()
    await first
    load.value = "new"
    clock.advance(29)
    assert await cache.get("a", load) == "old"
    clock.advance(1)
    again = await begin(cache, load)
    load.finish()
    assert await again == "new"


async def test_a_load_begun_before_a_change_is_not_kept(cache: Cache[str, object]) -> None:
    load = SlowLoad()
    before = await begin(cache, load)
    load.value = "new"
    cache.forget("a")
    after = await begin(cache, load)
    assert load.started == 2  # whoever asks after the change does not join the load from before
    load.finish()
    assert await before == "old"
    assert await after == "new"
    assert await cache.get("a", load) == "new"


async def test_a_load_from_before_that_ends_last_does_not_win(cache: Cache[str, object]) -> None:
    slow, quick = SlowLoad(), SlowLoad()
    before = await begin(cache, slow)
    cache.forget("a")
    quick.value = "new"
    after = await begin(cache, quick)
    quick.finish()
    assert await after == "new"
    slow.finish()
    assert await before == "old"
    assert await cache.get("a", slow) == "new"


async def test_only_what_changed_is_forgotten(cache: Cache[str, object]) -> None:
    load = SlowLoad()
    tasks = [await begin(cache, load, key) for key in "ab"]
    load.finish()
    await asyncio.gather(*tasks)
    cache.forget("a")
    assert await cache.get("b", load) == "old"
    assert load.started == 2


async def test_a_cancelled_waiter_does_not_stop_the_others(cache: Cache[str, object]) -> None:
    load = SlowLoad()
    first, second = await begin(cache, load), await begin(cache, load)
    first.cancel()
    await asyncio.sleep(0)
    load.finish()
    assert await second == "old"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert load.started == 1


async def test_a_load_whose_only_waiter_went_away_is_kept(cache: Cache[str, object]) -> None:
    load = SlowLoad()
    only = await begin(cache, load)
    only.cancel()
    await asyncio.sleep(0)
    load.finish()
    for _ in range(3):
        await asyncio.sleep(0)
    assert await cache.get("a", load) == "old"
    assert load.started == 1


async def test_a_failure_reaches_everybody_and_is_not_kept(cache: Cache[str, object]) -> None:
    load = SlowLoad()
    load.fails = True
    tasks = [await begin(cache, load) for _ in range(3)]
    load.finish()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    load.fails = False
    again = await begin(cache, load)
    load.finish()
    assert await again == "old"


async def test_the_number_of_entries_is_bounded(cache: Cache[str, object]) -> None:
    async def absent(key: str) -> None:
        return None

    async def present(key: str) -> str:
        return key

    for number in range(100):
        await cache.get(str(number), present)
    for number in range(100, 3000):
        await cache.get(str(number), absent)
    assert list(cache._entries) == ["97", "98", "99"]  # made-up names push out nothing that exists
    assert len(cache._absent) == 2000


async def test_a_gap_forgets_what_is_kept_and_what_is_being_loaded(cache: Cache[str, object]) -> None:
    load = SlowLoad()
    first = await begin(cache, load)
    load.finish()
    await first
    before = await begin(cache, load, "b")
    cache.clear()
    again = [await begin(cache, load, key) for key in "ab"]
    assert load.started == 4
    load.finish()
    await asyncio.gather(before, *again)


# The directory ------------------------------------------------------------------------------------------------------


class CountingStorage:
    """A `TenantDirectory` without tenants that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def find_tenant(self, name: str) -> TenantRecord | None:
        self.asked.append(name)
        return None

    async def find_client(self, tenant_id: TenantId, client_id: str) -> Client | None:
        self.asked.append(client_id)
        return None

    async def signing_keys(self, tenant_id: TenantId) -> Sequence[SigningKeyRecord]:
        return ()


async def test_names_that_cannot_exist_are_neither_asked_for_nor_kept(server: Server) -> None:
    """Else 50,000 made-up client_ids of 16,000 characters each would fill the memory."""
    storage = CountingStorage()
    directory = Directory(storage, Envelope.from_text(new_master_key()), SetClock(), base_url="https://id.example.com")
    tenant_id = server.tenants["acme"].tenant_id
    for name in ("x" * 513, "x" * 16_000, ""):
        assert await directory.find_client(tenant_id, name) is None
        assert await directory.find_tenant(name) is None
    assert await directory.find_tenant("x" * 64) is None
    assert storage.asked == []
    assert await directory.find_client(tenant_id, "x" * 512) is None
    assert await directory.find_tenant("x" * 63) is None
    assert storage.asked == ["x" * 512, "x" * 63]


async def test_a_change_of_a_client_is_seen_at_once(server: Server, web: RelyingParty) -> None:
    assert (await web.refresh("x")).json["error"] == "invalid_grant"
    await server.change_client("web", disabled=True)
    assert (await web.refresh("x")).json["error"] == "invalid_client"


async def test_a_client_that_was_absent_is_found_as_soon_as_it_exists(server: Server) -> None:
    party = RelyingParty(server, "new")
    assert (await party.refresh("x")).json["error"] == "invalid_client"
    metadata = ClientMetadata(grant_types=("refresh_token",), token_endpoint_auth_method="none")
    await server.storage.put_client(party.tenant.tenant_id, Client("new", metadata), events=())
    assert (await party.refresh("x")).json["error"] == "invalid_grant"


async def test_a_change_of_a_tenants_policy_is_seen_at_once(server: Server) -> None:
    await server.request("GET", "/acme/.well-known/openid-configuration")
    await server.change_policy(scopes=())
    document = (await server.request("GET", "/acme/.well-known/openid-configuration")).json
    assert "read" not in document["scopes_supported"]
    other = (await server.request("GET", "/other/.well-known/openid-configuration")).json
    assert "read" in other["scopes_supported"]


async def test_a_tenant_that_was_absent_is_found_as_soon_as_it_exists(server: Server) -> None:
    assert (await server.request("GET", "/new/jwks")).status == 404
    record = await server.storage.find_tenant("acme")
    assert record is not None
    new_id = TenantId(server.tenants["acme"].users["taro"])  # any other identifier
    await server.storage.create_tenant(TenantRecord(new_id, "new", record.policy, record.pairwise_salt), events=())
    reply = await server.request("GET", "/new/jwks")
    assert (reply.status, reply.json) == (200, {"keys": []})


async def test_after_a_gap_in_the_announcements_everything_is_loaded_anew(server: Server, web: RelyingParty) -> None:
    assert (await web.refresh("x")).json["error"] == "invalid_grant"
    tables = server.storage._state.of(web.tenant.tenant_id)
    del tables.clients["web"]  # unannounced
    assert (await web.refresh("x")).json["error"] == "invalid_grant"
    server.services.directory.changed(None, "all", "")
    assert (await web.refresh("x")).json["error"] == "invalid_client"


async def test_a_lost_announcement_does_harm_for_half_a_minute_only(server: Server, web: RelyingParty) -> None:
    assert (await web.refresh("x")).json["error"] == "invalid_grant"
    del server.storage._state.of(web.tenant.tenant_id).clients["web"]
    server.clock.advance(30)
    assert (await web.refresh("x")).json["error"] == "invalid_client"


async def test_new_keys_of_a_tenant_that_is_being_loaded_are_not_missed(server: Server) -> None:
    """The announcement names the tenant by an id that nobody has seen yet."""
    acme = server.tenants["acme"].tenant_id
    entered, door = asyncio.Event(), asyncio.Event()
    asked = 0

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(server.storage, name)

        async def find_tenant(self, name: str) -> TenantRecord | None:
            nonlocal asked
            asked += 1
            entered.set()
            await door.wait()
            return await server.storage.find_tenant(name)

    directory = Directory(Slow(), server.envelope, server.clock, base_url=server.base_url)
    first = asyncio.create_task(directory.find_tenant("acme"))
    await entered.wait()
    directory.changed(acme, "signing_key", "kid")
    door.set()
    await first
    await directory.find_tenant("acme")
    assert asked == 2
    directory.changed(acme, "signing_key", "kid")
    await directory.find_tenant("acme")
    assert asked == 3
    await directory.find_tenant("acme")
    assert asked == 3
