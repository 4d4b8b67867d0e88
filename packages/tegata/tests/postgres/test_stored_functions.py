"""The hot acts: each sets its tenant, names it in every statement, and reads by index however many rows there are."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from uuid import uuid4

import psycopg
import pytest

from tegata.identity.throttle import ThrottleBucket, ThrottleLimits
from tegata.postgres.engine import PoolLimits
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.stored_functions import StoredFunction, wanted_functions
from tegata.postgres.tenancy import tenant
from tegata.storage.records import NewRefreshToken
from tegata.testing.clusters import Cluster
from tegata.testing.records import NOW, World, event, inhabit, new_digest

FUNCTIONS = {function.name: function for function in wanted_functions()}
# find_tenant and load_tenant begin without a tenant; append_events is called by functions that have set it.
WITHOUT_CONTEXT = {"find_tenant", "append_events"}


def statements(function: StoredFunction) -> list[str]:
    """The statements of a function without its comments."""
    text = re.sub(r"--[^\n]*", "", function.text)
    return [part for part in text.split(";") if re.search(r"\btegata\.[a-z_]+\b", part)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_with_its_callers_rights_and_finds_no_name_outside_the_catalogue(name: str) -> None:
    text = FUNCTIONS[name].text
    # An empty path would still look for types in pg_temp first.
    assert "set search_path = pg_catalog, pg_temp as" in text
    assert ("security definer" in text) == (name == "find_tenant")


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - WITHOUT_CONTEXT))
def test_a_function_sets_its_tenant_for_the_transaction_alone(name: str) -> None:
    assert re.search(r"perform pg_catalog\.set_config\('app\.tenant_id', [^;]*, true\);", FUNCTIONS[name].text)


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"find_tenant"}))
def test_every_read_and_change_names_the_tenant(name: str) -> None:
    for statement in statements(FUNCTIONS[name]):
        tables = re.findall(r"\b(?:from|join|update) tegata\.([a-z_]+)", statement)
        wanted = re.findall(r"tenant_id = (?:p_tenant|wanted)\b", statement)
        assert len(wanted) >= len(tables), statement


ROWS = 4000
FILL = """
    insert into tegata.client (tenant_id, client_id, metadata)
      select %(t)s, 'c' || n, '{{}}' from generate_series(1, {rows}) n;
    insert into tegata.account (tenant_id, user_id, username, username_norm, login_email)
      select %(t)s, gen_random_uuid(), 'u' || n, 'u' || n, 'u' || n || '@example.com'
        from generate_series(1, {rows}) n;
    insert into tegata.session (tenant_id, session_id, digest, user_id, auth_time, amr, acr, created_at, last_seen_at,
        expires_at)
      select %(t)s, gen_random_uuid(), sha256(n::text::bytea), a.user_id, now(), '{{}}', '', now(), now(), now()
        from generate_series(1, {rows}) n join tegata.account a on a.tenant_id = %(t)s and a.username = 'u' || n;
    insert into tegata.grant_record (tenant_id, grant_id, client_id, user_id, session_id, scopes, resources, claims,
        auth_time, amr, acr, offline, created_at, expires_at)
      select %(t)s, gen_random_uuid(), 'web', a.user_id, gen_random_uuid(), '{{}}', '{{}}', '{{}}', now(), '{{}}', '',
             false, now(), now() from tegata.account a where a.tenant_id = %(t)s;
    insert into tegata.authorization_code (tenant_id, digest, grant_id, redirect_uri, redirect_uri_was_sent, expires_at)
      select %(t)s, sha256(grant_id::text::bytea), grant_id, '', true, now() from tegata.grant_record;
    insert into tegata.refresh_token (tenant_id, digest, grant_id, generation, issued_at, expires_at)
      select %(t)s, sha256(grant_id::text::bytea), grant_id, 0, now(), now() from tegata.grant_record;
    insert into tegata.opaque_token (tenant_id, digest, token_id, client_id, subject, scopes, audience, claims,
        issued_at, expires_at)
      select %(t)s, sha256(n::text::bytea), n::text, 'web', '', '{{}}', '{{}}', '{{}}', now(), now()
        from generate_series(1, {rows}) n;
    insert into tegata.revoked_token (tenant_id, token_id, expires_at)
      select %(t)s, n::text, now() from generate_series(1, {rows}) n;
    insert into tegata.interaction (tenant_id, digest, client_id, parameters, created_at, expires_at)
      select %(t)s, sha256(n::text::bytea), 'web', '{{}}', now(), now() from generate_series(1, {rows}) n;
    insert into tegata.consent (tenant_id, user_id, client_id, scopes, claims, resources, granted_at)
      select %(t)s, user_id, 'web', '{{}}', '{{}}', '{{}}', now() from tegata.account where tenant_id = %(t)s;
    insert into tegata.assertion (tenant_id, digest, expires_at)
      select %(t)s, sha256(n::text::bytea), now() from generate_series(1, {rows}) n;
    insert into tegata.throttle (tenant_id, key, failures, last_failure_at)
      select %(t)s, sha256(n::text::bytea), 0, now() from generate_series(1, {rows}) n;
    insert into tegata.audit_event (tenant_id, event_id, at, type, outcome)
      select %(t)s, gen_random_uuid(), now(), 'x', 'success' from generate_series(1, {rows}) n;
"""


async def hot_acts(world: World) -> dict[str, Callable[[], Awaitable[object]]]:
    """The acts of the hot endpoints, with rows for them in place."""
    tenant_id, storage = world.here.tenant_id, world.storage
    living = world.here.session()
    await storage.start_session(tenant_id, new_digest(), living, replaces=None, events=[])
    grant, refresh = await world.issued(session_id=living.session_id)
    code, opaque, interaction, session = (
        world.here.code(world.here.grant(session_id=living.session_id)),
        world.here.opaque(grant),
        world.here.interaction(),
        world.here.session(),
    )
    cookie = new_digest()
    buckets = [ThrottleBucket(new_digest(), 5)]
    return {
        "find_tenant": lambda: storage.find_tenant(world.here.name),
        "find_client": lambda: storage.find_client(tenant_id, "web"),
        "signing_keys": lambda: storage.signing_keys(tenant_id),
        "store_interaction": lambda: storage.store_interaction(tenant_id, interaction),
        "find_interaction": lambda: storage.find_interaction(tenant_id, interaction.digest, now=NOW),
        "drop_interaction": lambda: storage.drop_interaction(tenant_id, interaction.digest),
        "count_attempt": lambda: storage.count_attempt(tenant_id, buckets, ThrottleLimits(), now=NOW),
        "take_back_attempt": lambda: storage.take_back_attempt(tenant_id, [buckets[0].key], now=NOW),
        "clear_attempts": lambda: storage.clear_attempts(tenant_id, [buckets[0].key]),
        "find_password": lambda: storage.find_password(tenant_id, "taro"),
        "find_password by address": lambda: storage.find_password(tenant_id, "nobody@example.com"),
        "start_session": lambda: storage.start_session(
            tenant_id, cookie, session, replaces=new_digest(), events=[event("a")]
        ),
        "find_session": lambda: storage.find_session(tenant_id, cookie, client_id="web", idle_seconds=60, now=NOW),
        "store_code": lambda: storage.store_code(tenant_id, code, interaction=None, events=[event("a")]),
        "take_code": lambda: storage.take_code(
            tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("a")
        ),
        "store_tokens": lambda: storage.store_tokens(
            tenant_id, grant_id=grant.grant_id, refresh=None, opaque=opaque, now=NOW, events=[event("a")]
        ),
        "find_opaque_token": lambda: storage.find_opaque_token(tenant_id, opaque.digest, now=NOW),
        "find_token_state": lambda: storage.find_token_state(tenant_id, token_id="j", grant_id=grant.grant_id),
        "rotate_refresh_token": lambda: storage.rotate_refresh_token(
            tenant_id,
            refresh,
            client_id="web",
            successor=NewRefreshToken(new_digest(), NOW + 60),
            sealed_successor=b"sealed",
            scopes=None,
            resources=None,
            grace_seconds=20,
            now=NOW,
            issued_event=event("a"),
            reuse_event=event("b"),
        ),
        "find_refresh_token": lambda: storage.find_refresh_token(tenant_id, refresh, grace_seconds=20, now=NOW),
        "take_assertion_id": lambda: storage.take_assertion_id(
            tenant_id, client_id="web", jti=str(uuid4()), expires_at=NOW
        ),
        "revoke_opaque_token": lambda: storage.revoke_opaque_token(
            tenant_id, opaque.digest, client_id="web", now=NOW, event=event("a")
        ),
        "revoke_refresh_token": lambda: storage.revoke_refresh_token(
            tenant_id, refresh, client_id="web", now=NOW, event=event("a")
        ),
        "end_session": lambda: storage.end_session(tenant_id, session.session_id, now=NOW, event=event("a")),
    }


@pytest.mark.anyio
async def test_no_hot_act_reads_a_whole_table(each_cluster: Cluster) -> None:
    with each_cluster.migrated_database() as database:
        one = PoolLimits(size=1)
        storage, operator = PostgresStorage(database.app, one), PostgresOperatorStorage(database.maintenance, one)
        world = World(storage, operator, await inhabit(operator), await inhabit(operator))
        with psycopg.connect(database.admin.psycopg_conninfo(), autocommit=True) as admin:
            for statement in FILL.format(rows=ROWS).split(";\n")[:-1]:
                admin.execute(statement.encode(), {"t": world.here.tenant_id})
            admin.execute("analyze")

            async def scanned() -> set[str]:
                """Tables that the application's connection has read from end to end so far."""
                await storage.database.value("select pg_stat_force_next_flush()")
                await storage.database.value("select 1")
                rows = admin.execute(
                    "select relname || ' ' || seq_scan from pg_stat_user_tables where schemaname = 'tegata'"
                    " and seq_scan > 0 and relname <> all (%s)",
                    (["tenant", "tenant_directory", "signing_key", "client_secret"],),  # too small for an index
                ).fetchall()
                return {str(row[0]) for row in rows}

            async def count_everything() -> None:
                async with tenant(storage.database, world.here.tenant_id) as connection:
                    await connection.execute("select count(*) from tegata.audit_event where type = 'x'")

            acts = await hot_acts(world) | {"what must be noticed": count_everything}
            guilty = {}
            for name, act in acts.items():
                before = await scanned()
                await act()
                if new := await scanned() - before:
                    guilty[name] = new
        await storage.close()
        await operator.close()
    assert guilty.keys() == {"what must be noticed"}
