"""What reaches the replica: nothing of the protocol, whatever is asked of the server; only the marked reads."""

from __future__ import annotations

import ast
import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any, get_args

import pytest

import tegata.postgres
from tegata.postgres.fence import Refusal
from tegata.postgres.reader import FALLBACKS, Reader
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.storage.marked_reads import EventSearch, MarkedReads, TenantReads
from tegata.storage.ports import OperatorStorage
from tegata.storage.records import DesiredUser
from tegata.testing.memory import MemoryStorage
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT
from tegata.testing.relying_party import Browser, RelyingParty
from tegata.testing.replicas import LOGGED, Replicated, replicated
from tegata.testing.server import Server, serving

pytestmark = pytest.mark.anyio
# What the driver asks a catalogue by itself, to know a type.
OF_THE_DRIVER = ("typeinfo_tree", "set_config('jit'")


@pytest.fixture(scope="module")
def servers() -> Iterator[Replicated]:
    with replicated(settings=LOGGED) as servers:
        yield servers


def asked(servers: Replicated) -> list[str]:
    """The statements that the replica was asked as the application role, in one line each."""
    log = servers.replica.log()
    entries = re.split(r"^(?=\[\w*\] )", log, flags=re.MULTILINE)
    found = (re.match(r"\[tegata_app\] LOG:  (?:statement|execute [^:]*): (.*)", e, re.DOTALL) for e in entries)
    return [" ".join(match[1].split()) for match in found if match]


@asynccontextmanager
async def serving_with_a_reader(servers: Replicated) -> AsyncIterator[tuple[Server, PostgresStorage]]:
    """The application on PostgreSQL with a replica that has caught up, and the tenants of `serving()` in it."""
    reader = Reader(servers.reader().app, PATIENT, patience_seconds=PATIENCE_SECONDS, connect_seconds=PATIENCE_SECONDS)
    storage = PostgresStorage(servers.writer.app, PATIENT, reader=reader)
    operator = PostgresOperatorStorage(servers.writer.maintenance, PATIENT)
    try:
        async with serving(through=lambda _: storage) as server:
            server.clock.now = time.time()
            await copy(server.storage, operator)
            yield server, storage
    finally:
        await storage.close()
        await operator.close()


async def copy(memory: MemoryStorage, operator: OperatorStorage) -> None:
    for tenant in await memory.list_tenants():
        await operator.create_tenant(tenant, events=())
        for key in await memory.signing_keys(tenant.tenant_id):
            await operator.add_key(tenant.tenant_id, key, events=())
        for client in await memory.list_clients(tenant.tenant_id):
            await operator.put_client(tenant.tenant_id, client, events=())
        for found in await memory.list_users(tenant.tenant_id):
            user = found.user
            desired = DesiredUser(user.username, user.claims, user.roles, user.disabled, found.password_hash)
            await operator.put_user(tenant.tenant_id, user.user_id, desired, events=())


async def use_everything(server: Server) -> None:
    """Every endpoint of the protocol, successes and refusals: codes, rotation, replay, jti, revocation, logout."""
    for client_id in ("web", "jwt", "spa", "opaque"):
        party, browser = RelyingParty(server, client_id), Browser(server)
        tokens = await party.sign_in(browser, scope="openid profile offline_access", prompt="consent")
        assert (await party.userinfo(tokens["access_token"])).status == 200
        rotated = (await party.refresh(tokens["refresh_token"])).json
        if client_id != "spa":
            assert (await party.introspect(rotated["access_token"]))["active"]
        answer = await party.authorize(browser)
        assert (await party.redeem(answer["code"])).status == 200
        assert (await party.redeem(answer["code"])).status == 400
        assert (await party.call("revoke", token=rotated["refresh_token"])).status == 200
        assert (await party.refresh(rotated["refresh_token"])).status == 400
        await browser.get(f"/acme/logout?id_token_hint={tokens['id_token']}")
    wrong = await Browser(server).get(RelyingParty(server).url())
    assert "/sign-in?" in wrong.url
    await Browser(server).sign_in(wrong, password="not the password")
    assert (await RelyingParty(server, "service").call("token", grant_type="client_credentials")).status == 200
    for document in ("jwks", ".well-known/openid-configuration", ".well-known/oauth-authorization-server"):
        assert (await server.request("GET", f"/acme/{document}")).status == 200
    assert (await server.request("GET", "/health/db")).status == 200


async def test_the_whole_protocol_asks_nothing_of_the_replica(servers: Replicated) -> None:
    async with serving_with_a_reader(servers) as (server, storage):
        await use_everything(server)
        await server.services.audit.flush()
        assert storage.database.hot_acts > 100
        assert asked(servers) == []

        # The log does show what is asked: the four marked reads, and nothing beside the fence around them.
        assert storage.reader is not None
        reads: TenantReads
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            reads = await storage.tenant_readonly(server.tenants["acme"].tenant_id)
            await reads.list_roles()
            if storage.reader.use.reads:
                break
            assert time.monotonic() < deadline, storage.reader.use
            await asyncio.sleep(0.05)
        assert await reads.search_events(EventSearch(type_prefix="code.replayed"), limit=10)
        assert await reads.list_clients()
        assert await reads.list_users()
        assert storage.reader.use.reads >= 4
    statements = set(asked(servers))
    tables_and_functions = {name for statement in statements for name in re.findall(r"tegata\.(\w+)", statement)}
    assert tables_and_functions == {"audit_event", "client", "client_secret", "role", "account"}
    ours = {statement for statement in statements if not any(mark in statement for mark in OF_THE_DRIVER)}
    assert len(ours) == 7, ours  # begin with its tenant, the fence, four reads, commit


def test_the_reader_has_the_marked_reads_and_no_other() -> None:
    """Marking another read is a decision: it stands in this list, and in docs/decisions/0007."""
    assert methods_of(MarkedReads) == {"tenant_readonly"}
    assert methods_of(TenantReads) == {"search_events", "list_clients", "list_roles", "list_users"}


def test_one_module_alone_asks_the_reader_anything() -> None:
    users = set()
    for path in Path(next(iter(tegata.postgres.__path__))).rglob("*.py"):
        called = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        if "attempt" in called:
            users.add(path.name)
    assert users == {"reader_reads.py"}


def test_every_reason_to_read_on_the_writer_is_explained() -> None:
    page = Path(__file__).parents[4] / "docs" / "how-to" / "read-from-a-replica.md"
    assert set(re.findall(r"^\| `(\w+)` \|", page.read_text(), flags=re.MULTILINE)) == set(FALLBACKS)
    assert set(get_args(Refusal)) < set(FALLBACKS)


def methods_of(port: Any) -> set[str]:
    return {name for name, _ in getmembers(port, isfunction) if not name.startswith("_")}
