"""From every earlier revision, with data, as a migrator without any right beyond the owner's, on 15, 16 and 18."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, MIGRATOR, Plan, bootstrap
from tegata.postgres.doctor import examine
from tegata.postgres.migrate import migrate, migration_script, pending
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.stored_functions import StoredFunction, wanted_functions
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster
from tegata.testing.dumps import dump, psql
from tegata.testing.hot_acts import hot_acts
from tegata.testing.patience import PATIENT
from tegata.testing.records import World, inhabit

Enter = Callable[[str], ConnectionTarget]

RELEASED = Path(__file__).parent / "released"
REVISIONS = sorted(
    path.name.partition("_")[0]
    for path in (Path(migration_script.__code__.co_filename).parent / "migrations" / "versions").glob("[0-9]*.py")
)
TENANTS = ("00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b")

# One row of each kind and a second one of what is over, written as the owner, who is bound by the policies.
ROWS = """
    insert into tegata.tenant (tenant_id, name, policy, pairwise_salt) values ('{t}', 'n{t}', '{{}}', 'salt');
    insert into tegata.tenant_directory (name, tenant_id) values ('n{t}', '{t}');
    insert into tegata.client (tenant_id, client_id, metadata) values ('{t}', 'web', '{{"client_name": "手形"}}');
    insert into tegata.client_secret (tenant_id, client_id, digest) values ('{t}', 'web', '\\x01');
    insert into tegata.signing_key
      select '{t}', 'k', 'ES256', 'active', '{{}}', '\\x02', now(), now();
    insert into tegata.role (tenant_id, name, permissions) values ('{t}', 'admin', '{{"orders:read"}}');
    insert into tegata.account (tenant_id, user_id, username, username_norm, login_email, roles)
      values ('{t}', '{t}', 'Taro', 'taro', 'taro@example.com', '{{admin}}');
    insert into tegata.session
      select '{t}', '{t}', '\\x03', '{t}', now(), '{{pwd}}', '', now(), now(), now() + interval '1 hour';
    insert into tegata.consent select '{t}', '{t}', 'web', '{{openid}}', '{{}}', '{{}}', now();
    insert into tegata.grant_record (tenant_id, grant_id, client_id, user_id, session_id, scopes, resources, claims,
        auth_time, amr, acr, offline, created_at, expires_at, generation, sealed_current)
      select '{t}', '{t}', 'web', '{t}', '{t}', '{{openid}}', '{{}}', '{{}}', now(), '{{pwd}}', '', true, now(),
             now() + interval '30 days', 2, '\\x04';
    insert into tegata.authorization_code select '{t}', sha256(n::text::bytea), '{t}', 'https://app.example/', true,
        null, now(), null from generate_series(1, 2) n;
    insert into tegata.refresh_token
      select '{t}', sha256(n::text::bytea), '{t}', n, now(), now() from generate_series(1, 2) n;
    insert into tegata.opaque_token
      select '{t}', '\\x05', 'j', 'web', '{t}', '{t}', 's', '{{}}', '{{}}', '{{}}', now(), now();
    insert into tegata.revoked_token select '{t}', 'j', now();
    insert into tegata.interaction select '{t}', '\\x06', 'web', '{{}}', now(), now();
    insert into tegata.assertion select '{t}', '\\x07', now();
    insert into tegata.throttle select '{t}', '\\x08', 3, now(), now();
    insert into tegata.audit_event (tenant_id, event_id, at, type, outcome, actor)
      select '{t}', gen_random_uuid(), now() + n * interval '20 days', 'login', 'success', 'taro'
        from generate_series(-20, 3) n;
"""


def run(target: ConnectionTarget, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def migrator(enter: Enter) -> ConnectionTarget:
    """The migrator's way into a database that has roles and schema and nothing else."""
    administrator = enter("rds")
    bootstrap(administrator, Plan())
    return administrator.entering_as(MIGRATOR)


def fill(migrator: ConnectionTarget) -> None:
    for tenant_id in TENANTS:
        run(migrator.taking_role("tegata_owner"), ROWS.format(t=tenant_id))


def tenant_tables(superuser: ConnectionTarget) -> list[str]:
    """The tables as queries name them: no partitions."""
    return [
        str(name)
        for (name,) in run(
            superuser,
            "select relname::text from pg_class where relnamespace = 'tegata'::regnamespace and relkind in ('r', 'p')"
            " and not relispartition and relname <> 'schema_version' order by 1",
        )
    ]


def contents(superuser: ConnectionTarget) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for table in tenant_tables(superuser):
        rows = [row[0] for row in run(superuser, f"select to_jsonb(t) from tegata.{table} t")]
        found[table] = sorted((row for row in rows if isinstance(row, dict)), key=str)
    return found


def assert_nothing_is_lost(
    before: dict[str, list[dict[str, object]]], after: dict[str, list[dict[str, object]]]
) -> None:
    for table, rows in before.items():
        columns = rows[0].keys()
        assert len(after[table]) == len(rows), table
        kept = [{name: row[name] for name in columns if name in row} for row in after[table]]
        assert sorted(kept, key=str) == sorted(rows, key=str), table


def assert_sound(migrator: ConnectionTarget) -> None:
    diagnosis = examine(migrator, application=migrator.entering_as(APPLICATION))
    assert (diagnosis.findings, diagnosis.remarks) == ((), ())
    assert not pending(migrator)


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgrade_loses_no_row_and_leaves_a_sound_wall(
    enter: Enter, migrator: ConnectionTarget, revision: str
) -> None:
    superuser = enter("superuser")
    assert run(
        superuser, "select rolsuper or rolbypassrls or rolcreaterole from pg_roles where rolname = 'tegata_migrator'"
    ) == [(False,)]
    migrate(migrator, to=revision)
    fill(migrator)
    before = contents(superuser)
    assert [table for table, rows in before.items() if len({str(row["tenant_id"]) for row in rows}) < 2] == []
    migrate(migrator)
    assert_nothing_is_lost(before, contents(superuser))
    assert_sound(migrator)


def test_the_tables_belong_to_the_owner_and_the_migrator_owns_nothing(enter: Enter, migrator: ConnectionTarget) -> None:
    migrate(migrator)
    owners = run(
        enter("superuser"),
        "select distinct relowner::regrole::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where nspname like 'tegata%' union"
        " select distinct proowner::regrole::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where nspname like 'tegata%'",
    )
    assert owners == [("tegata_owner",)]


@pytest.mark.parametrize("revision", [None, *REVISIONS[:-1]])
def test_the_printed_script_makes_the_same_catalogue_by_psql(
    bare_cluster: Cluster, enter: Enter, migrator: ConnectionTarget, revision: str | None
) -> None:
    superuser, everybodys = enter("superuser"), enter("superuser").in_database("postgres")
    if revision is not None:
        migrate(migrator, to=revision)
    run(everybodys, "create database twin template untouched owner master")
    bootstrap(superuser.in_database("twin"), Plan())
    migrate(migrator)
    finished = psql(migrator.in_database("twin"), migration_script(after=revision), bindir=bare_cluster.bindir)
    assert finished.returncode == 0, finished.stderr
    # Alembic prints a tab as four spaces.
    ours = dump(superuser, bindir=bare_cluster.bindir).replace("\t", "    ")
    theirs = dump(superuser.in_database("twin"), bindir=bare_cluster.bindir).replace("\t", "    ")
    assert theirs.replace("twin", "untouched") == ours
    assert not pending(migrator.in_database("twin"))


# --- while old and new release run side by side -----------------------------------------------------------------------


def released_functions(revision: str) -> list[StoredFunction]:
    return [StoredFunction(file.stem, file.read_text()) for file in sorted((RELEASED / revision).glob("*.sql"))]


def signatures(superuser: ConnectionTarget) -> set[tuple[object, ...]]:
    return set(
        run(
            superuser,
            "select p.proname::text, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid) from pg_proc p"
            " where p.pronamespace = 'tegata'::regnamespace",
        )
    )


def install(migrator: ConnectionTarget, functions: Sequence[StoredFunction]) -> None:
    for function in functions:
        run(migrator.taking_role("tegata_owner"), function.script)


@pytest.mark.parametrize("released", sorted(path.name for path in RELEASED.iterdir() if path.is_dir()))
def test_the_functions_that_an_earlier_release_calls_are_still_there(
    enter: Enter, migrator: ConnectionTarget, released: str
) -> None:
    superuser = enter("superuser")
    migrate(migrator, to=released)
    install(migrator, released_functions(released))
    before = signatures(superuser)
    migrate(migrator)
    assert before - signatures(superuser) == set()


@pytest.mark.anyio
@pytest.mark.parametrize("released", sorted(path.name for path in RELEASED.iterdir() if path.is_dir()))
async def test_an_earlier_releases_functions_do_their_work_on_the_new_tables(
    migrator: ConnectionTarget, released: str
) -> None:
    """The moment between the last revision and the new functions, for as long as it may last."""
    old = released_functions(released)
    migrate(migrator, to=released)
    install(migrator, old)
    migrate(migrator, to=REVISIONS[-1])
    # What this release calls and that one did not have; all else is as the revisions have left it.
    install(migrator, [new for new in wanted_functions() if new.name not in {function.name for function in old}])
    one = replace(PATIENT, size=1)
    storage = PostgresStorage(migrator.entering_as(APPLICATION), one)
    operator = PostgresOperatorStorage(migrator.entering_as(MAINTENANCE), one)
    try:
        world = World(storage, operator, await inhabit(operator), await inhabit(operator))
        for act in (await hot_acts(world)).values():
            await act()
    finally:
        await storage.close()
        await operator.close()
