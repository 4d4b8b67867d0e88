"""One connection that goes from tenant to tenant: what an error, a cancellation or a timeout leaves in it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import psycopg
import pytest

from tegata.identifiers import TenantId
from tegata.postgres.changes import CHANNEL, ChangeListener
from tegata.postgres.engine import TenantMissing
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.tenancy import across_tenants, tenant
from tegata.storage.errors import StorageError, Unavailable
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.hot_acts import hot_acts
from tegata.testing.patience import PATIENT
from tegata.testing.pgbouncer import PgBouncer, find_pgbouncer
from tegata.testing.records import NOW, Inhabited, World, event, inhabit, new_digest
from tegata.testing.tenant_acts import Work, in_processes, work_of

pytestmark = pytest.mark.anyio

Attacked = Callable[..., None]
ONE = replace(PATIENT, size=1)
PATIENCE_SECONDS = 60


@pytest.fixture
async def narrow(each_migrated_database: MigratedDatabase) -> AsyncIterator[World]:
    """Two tenants on a pool of one connection."""
    storage = PostgresStorage(each_migrated_database.app, ONE)
    operator = PostgresOperatorStorage(each_migrated_database.maintenance, PATIENT)
    yield World(storage, operator, await inhabit(operator), await inhabit(operator))
    await storage.close()
    await operator.close()


async def sees_only_itself(storage: PostgresStorage, who: Inhabited) -> bool:
    """Look through an act and through a transaction; and without a tenant, which must be an error."""
    key = await storage.find_password(who.tenant_id, "taro")
    async with tenant(storage.database, who.tenant_id) as connection:
        rows = await connection.fetch("select distinct tenant_id from tegata.client")
    try:
        async with across_tenants(storage.database) as connection:
            await connection.fetch("select count(*) from tegata.client")
    except TenantMissing:
        return key is not None and key.user.user_id == who.user_id and [r[0] for r in rows] == [who.tenant_id]
    return False


async def poison_error(world: World) -> None:
    """A statement fails in the middle of a transaction."""
    async with tenant(world.storage.database, world.here.tenant_id) as connection:  # type: ignore[attr-defined]
        await connection.execute("insert into tegata.session (tenant_id) values ($1)", world.here.tenant_id)


async def poison_exception(world: World) -> None:
    async with tenant(world.storage.database, world.here.tenant_id) as connection:  # type: ignore[attr-defined]
        await connection.fetch("select 1 from tegata.client")
        raise LookupError


async def poison_timeout(world: World) -> None:
    """statement_timeout of the server."""
    async with tenant(world.storage.database, world.here.tenant_id) as connection:  # type: ignore[attr-defined]
        await connection.execute("set local statement_timeout = '500ms'")
        await connection.execute("select pg_sleep(30)")


async def poison_cancellation(world: World) -> None:
    async with asyncio.timeout(0.05):
        async with tenant(world.storage.database, world.here.tenant_id) as connection:  # type: ignore[attr-defined]
            await connection.execute("select pg_sleep(30)")


async def poison_session(world: World) -> None:
    """The tenant set for the whole session, as nobody should: it is overwritten by whoever comes next."""
    async with tenant(world.storage.database, world.here.tenant_id) as connection:  # type: ignore[attr-defined]
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(world.here.tenant_id))
        await connection.execute("savepoint s; select set_config('app.tenant_id', '', true)")


async def poison_termination(world: World) -> None:
    async with tenant(world.storage.database, world.here.tenant_id) as connection:  # type: ignore[attr-defined]
        await connection.execute("select pg_terminate_backend(pg_backend_pid())")


async def poison_open_transaction(world: World) -> None:
    """A connection given back inside a transaction."""
    pool = world.storage.database.pool  # type: ignore[attr-defined]
    connection = await pool.take()
    await connection.execute(f"begin; select set_config('app.tenant_id', '{world.here.tenant_id}', true)")
    pool.give_back(connection)


@pytest.mark.parametrize(
    "poison",
    [
        poison_error,
        poison_exception,
        poison_timeout,
        poison_cancellation,
        poison_session,
        poison_termination,
        poison_open_transaction,
    ],
    ids=lambda poison: poison.__name__.removeprefix("poison_"),
)
async def test_the_next_tenant_finds_nothing_of_the_one_before(narrow: World, poison: Any, attacked: Attacked) -> None:
    wrong = 0
    storage = narrow.storage
    assert isinstance(storage, PostgresStorage)
    for _ in range(3):
        with suppress(StorageError, LookupError, TimeoutError, Exception):
            await poison(narrow)
        for who in (narrow.there, narrow.here):
            wrong += not await sees_only_itself(storage, who)
    attacked("pooled connection", attempts=6, successes=wrong)
    assert wrong == 0


async def test_a_session_wide_setting_is_overwritten_by_whoever_comes_next(narrow: World, attacked: Attacked) -> None:
    """Nothing in Tegata makes one; if something did, no act and no transaction of a tenant would follow it."""
    storage = narrow.storage
    assert isinstance(storage, PostgresStorage)
    connection = await storage.database.pool.take()
    await connection.execute(f"set app.tenant_id = '{narrow.here.tenant_id}'")
    storage.database.pool.give_back(connection)
    found = await storage.find_password(narrow.there.tenant_id, "taro")
    assert found is not None
    wrong = found.user.user_id != narrow.there.user_id
    async with tenant(storage.database, narrow.there.tenant_id) as connection:
        rows = await connection.fetch("select distinct tenant_id from tegata.client")
    wrong += [row[0] for row in rows] != [narrow.there.tenant_id]
    attacked("pooled connection", attempts=2, successes=wrong)
    assert wrong == 0


async def test_hot_acts_cancelled_anywhere_never_answer_the_wrong_tenant(
    narrow: World, attacked: Attacked, each_migrated_database: MigratedDatabase
) -> None:
    storage = narrow.storage
    assert isinstance(storage, PostgresStorage)
    chance, wrong, cancelled, rounds = random.Random(1), 0, 0, 120
    acts = await hot_acts(narrow)
    names = sorted(acts)
    for number in range(rounds):
        with suppress(StorageError):
            task = asyncio.ensure_future(acts[names[number % len(names)]]())
            await asyncio.sleep(chance.choice([0, 0, 0.0002, 0.0005, 0.001, 0.002]))
            cancelled += task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        wrong += not await sees_only_itself(storage, narrow.there)
    attacked("cancelled act", attempts=rounds, successes=wrong)
    assert wrong == 0
    assert cancelled > 10


async def limit_statements(storage: PostgresStorage, most: str) -> None:
    """Let the server end statements of the one connection after this time."""
    connection = await storage.database.pool.take()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(asyncpg.QueryCanceledError):  # this one lasted longer than the limit that was in force
                await connection.execute(f"set statement_timeout = '{most}'")
                break
    storage.database.pool.give_back(connection)


async def test_an_act_that_waits_too_long_for_a_lock_leaves_nothing(
    narrow: World, attacked: Attacked, each_migrated_database: MigratedDatabase
) -> None:
    """The server's statement_timeout ends a hot act in the middle; the same connection then serves the other tenant."""
    storage, wrong = narrow.storage, 0
    assert isinstance(storage, PostgresStorage)
    code = narrow.here.code()
    await storage.store_code(narrow.here.tenant_id, code, interaction=None, events=[])
    with psycopg.connect(each_migrated_database.admin.psycopg_conninfo()) as blocker:
        blocker.execute("select from tegata.authorization_code where digest = %s for update", (code.digest,))
        for _ in range(2):
            await limit_statements(storage, "500ms")
            with pytest.raises(Unavailable):
                await storage.take_code(
                    narrow.here.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
                )
            await limit_statements(storage, "60s")
            wrong += not await sees_only_itself(storage, narrow.there)
    taken = await storage.take_code(
        narrow.here.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
    )
    attacked("pooled connection", attempts=2, successes=wrong)
    assert (wrong, taken.outcome) == (0, "taken")


async def test_what_belongs_to_one_tenant_is_unknown_to_the_acts_of_another(world: World, attacked: Attacked) -> None:
    """Every act that takes a secret, with a secret of `here`, at `there`; then it is still good at home."""
    storage, here, there = world.storage, world.here.tenant_id, world.there.tenant_id
    cookie, session, code, interaction = new_digest(), world.here.session(), world.here.code(), world.here.interaction()
    await storage.start_session(here, cookie, session, replaces=None, events=[])
    await storage.store_code(here, code, interaction=None, events=[])
    await storage.store_interaction(here, interaction)
    grant, refresh = await world.issued()
    opaque = world.here.opaque(grant)
    kept = await storage.store_tokens(here, grant_id=grant.grant_id, refresh=None, opaque=opaque, now=NOW, events=[])
    assert kept
    told = event("attack")
    tried: list[object] = [
        await storage.find_session(there, cookie, client_id="web", idle_seconds=10**9, now=NOW),
        await storage.find_interaction(there, interaction.digest, now=NOW),
        await storage.drop_interaction(there, interaction.digest) or None,
        await storage.find_opaque_token(there, opaque.digest, now=NOW),
        await storage.find_refresh_token(there, refresh, grace_seconds=60, now=NOW),
        await storage.get_user(there, world.here.user_id),
        (await storage.take_code(there, code.digest, client_id="web", now=NOW, replay_event=told)).code,
    ]
    await storage.end_session(there, session.session_id, now=NOW, event=told)
    await storage.revoke_grant(there, grant.grant_id, now=NOW, event=told)
    await storage.revoke_refresh_token(there, refresh, client_id="web", now=NOW, event=told)
    await storage.revoke_opaque_token(there, opaque.digest, client_id="web", now=NOW, event=told)
    await storage.revoke_token_id(there, token_id=opaque.token_id, expires_at=NOW + 60, event=told)
    await storage.update_password_hash(there, world.here.user_id, old="", new="stolen")
    seen = [each for each in tried if each is not None]
    home = [
        await storage.find_session(here, cookie, client_id="web", idle_seconds=10**9, now=NOW),
        await storage.find_interaction(here, interaction.digest, now=NOW),
        await storage.find_refresh_token(here, refresh, grace_seconds=60, now=NOW),
        (await storage.take_code(here, code.digest, client_id="web", now=NOW, replay_event=told)).code,
    ]
    found = await storage.find_opaque_token(here, opaque.digest, now=NOW)
    lost = [each for each in home if each is None]
    attacked("act of storage", attempts=len(tried) + 6, successes=len(seen) + len(lost))
    assert seen == []
    assert lost == []
    assert found is not None
    assert found.active


@pytest.mark.skipif(find_pgbouncer() is None, reason="pgbouncer is not installed")
async def test_pgbouncer_in_transaction_mode_with_two_processes(
    each_migrated_database: MigratedDatabase, attacked: Attacked
) -> None:
    operator = PostgresOperatorStorage(each_migrated_database.maintenance, PATIENT)
    tenants = await inhabit(operator), await inhabit(operator)
    await operator.close()
    with PgBouncer(each_migrated_database.admin, pool_size=2) as bouncer:
        work: Work = work_of(bouncer.through(each_migrated_database.app), tenants)
        outcomes = in_processes([replace(work, seed=seed, count=300) for seed in (11, 12)])
        # A poisoned session of the server, as by another program behind the same pooler.
        with psycopg.connect(bouncer.through(each_migrated_database.app).psycopg_conninfo(), autocommit=True) as rude:
            for _ in range(8):
                rude.execute(f"set app.tenant_id = '{tenants[0].tenant_id}'".encode())
        after = in_processes([replace(work, seed=seed, count=100) for seed in (13, 14)])
    wrong = sum(one.wrong for one in (*outcomes, *after))
    attacked("PgBouncer", attempts=sum(one.acts for one in (*outcomes, *after)), successes=wrong)
    assert [(one.wrong, one.errors) for one in (*outcomes, *after)] == [(0, {})] * 4


async def test_made_up_notifications_only_make_a_process_read_again(
    each_migrated_database: MigratedDatabase, attacked: Attacked
) -> None:
    """Whoever reaches the database may send them. None ends the listening, and what is no change drops all caches."""
    heard: list[tuple[TenantId | None, str, str]] = []
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    listener = ChangeListener(each_migrated_database.app)
    listener.subscribe(lambda tenant_id, kind, key: heard.append((tenant_id, kind, key)))
    await listener.start()
    await listener.until_listening()
    heard.clear()
    someone = uuid4()
    made_up = [
        "",
        "garbage",
        "[]",
        "5",
        "null",
        '{"tenant": 5, "kind": "client", "key": "web"}',
        '{"tenant": "", "kind": "client", "key": "web"}',
        '{"tenant": null, "kind": "client", "key": "web"}',
        '{"kind": "client"}',
        "[" * 7000,
        "\u0001" * 100,
        json.dumps({"tenant": str(someone), "kind": "client", "key": "web"}),
    ]
    async with asyncio.timeout(90):
        with psycopg.connect(each_migrated_database.app.psycopg_conninfo(), autocommit=True) as rude:
            for payload in made_up:
                rude.execute("select pg_notify(%s, %s)", (CHANNEL, payload))
        while not heard or heard[-1] != (someone, "client", "web"):
            await asyncio.sleep(0.01)
    await listener.close()
    attacked("notify", attempts=len(made_up), successes=len(faults))
    assert faults == []
    assert heard == [(None, "all", "")] * (len(made_up) - 1) + [(someone, "client", "web")]
