"""What somebody has changed since is mended, or told with the statement and the reason why it was left."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, MIGRATOR, OWNER, Outcome, Plan, bootstrap
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster
from tegata.testing.dumps import dump

Enter = Callable[[str], ConnectionTarget]
NOTHING = Outcome((), ())


def run(target: ConnectionTarget, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = None
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor is not None and cursor.description else []


DRIFT = {
    "the application is a superuser": (["alter role tegata_app superuser"], "tegata_app loses the attribute SUPERUSER"),
    "the application bypasses RLS": (["alter role tegata_app bypassrls"], "tegata_app loses the attribute BYPASSRLS"),
    "maintenance makes roles": (["alter role tegata_maint createrole"], "tegata_maint loses the attribute CREATEROLE"),
    "the migrator makes databases": (
        ["alter role tegata_migrator createdb"],
        "tegata_migrator loses the attribute CREATEDB",
    ),
    "the application replicates": (
        ["alter role tegata_app replication"],
        "tegata_app loses the attribute REPLICATION",
    ),
    "the owner logs in": (["alter role tegata_owner login"], "tegata_owner loses the attribute LOGIN"),
    "the migrator inherits": (["alter role tegata_migrator inherit"], "tegata_migrator loses the attribute INHERIT"),
    "the application is the owner": (
        ["grant tegata_owner to tegata_app"],
        "tegata_app is no member of tegata_owner any more",
    ),
    "the application is maintenance": (
        ["grant tegata_maint to tegata_app"],
        "tegata_app is no member of tegata_maint any more",
    ),
    "the application is the migrator": (
        ["revoke tegata_app from tegata_migrator", "grant tegata_migrator to tegata_app"],
        "tegata_app is no member of tegata_migrator any more",
    ),
    "the application reads everything": (
        ["grant pg_read_all_data to tegata_app"],
        "tegata_app is no member of pg_read_all_data any more",
    ),
    "the application is a superuser in two steps": (
        [
            "create role strong superuser",
            "create role between",
            "grant strong to between",
            "grant between to tegata_app",
        ],
        "tegata_app is no member of between any more",
    ),
    "the application bypasses RLS through a group": (
        ["create role strong bypassrls", "grant strong to tegata_app"],
        "tegata_app is no member of strong any more",
    ),
    "the application makes roles through a group": (
        ["create role strong createrole", "grant strong to tegata_app"],
        "tegata_app is no member of strong any more",
    ),
    "the application is who owns the database": (
        ["create role landlord", "alter database untouched owner to landlord", "grant landlord to tegata_app"],
        "tegata_app is no member of landlord any more",
    ),
    "maintenance is the owner": (
        ["grant tegata_owner to tegata_maint"],
        "tegata_maint is no member of tegata_owner any more",
    ),
    "the migrator writes everything": (
        ["grant pg_write_all_data to tegata_migrator"],
        "tegata_migrator is no member of pg_write_all_data any more",
    ),
    "the migrator passes the owner on": (
        ["grant tegata_owner to tegata_migrator with admin option"],
        "tegata_migrator cannot pass on tegata_owner any more",
    ),
    "the migrator cannot become the owner": (
        ["revoke tegata_owner from tegata_migrator"],
        "tegata_migrator may SET ROLE tegata_owner",
    ),
    "the application makes tables in the schema": (
        ["grant create on schema tegata to tegata_app"],
        "tegata_app loses CREATE on schema tegata",
    ),
    "everybody makes tables in the schema": (
        ["grant all on schema tegata to public"],
        "PUBLIC loses CREATE on schema tegata",
    ),
    "a stranger makes tables in the schema": (
        ["create role stranger", "grant create on schema tegata to stranger"],
        "stranger loses CREATE on schema tegata",
    ),
    "the application may not look in": (
        ["revoke usage on schema tegata from tegata_app"],
        "tegata_app may look into schema tegata",
    ),
    "the schema belongs to somebody else": (
        ["alter schema tegata owner to tegata_app"],
        "schema tegata belongs to tegata_owner, no longer to tegata_app",
    ),
    "everybody makes things in schema public": (
        ["grant create on schema public to public"],
        "PUBLIC may make nothing in schema public any more",
    ),
    "the application has a schema of its own": (
        ["create schema side", "grant create on schema side to tegata_app"],
        "tegata_app may make nothing in schema side any more",
    ),
    "the application makes schemas": (
        ["grant create on database untouched to tegata_app"],
        "tegata_app loses CREATE on database untouched",
    ),
    "the application makes temporary tables": (
        ["grant temporary on database untouched to tegata_app"],
        "tegata_app loses TEMPORARY on database untouched",
    ),
    "everybody makes temporary tables": (
        ["grant temporary on database untouched to public"],
        "PUBLIC loses TEMPORARY on database untouched",
    ),
    "nobody may connect": (
        ["revoke connect on database untouched from public"],
        "tegata_app may connect to database untouched",
    ),
    "new tables are the application's": (
        ["alter default privileges for role tegata_owner in schema tegata grant all on tables to tegata_app"],
        "tegata_app gets no TRUNCATE by default on what tegata_owner makes",
    ),
    "new sequences are the application's": (
        ["alter default privileges for role tegata_owner grant usage on sequences to tegata_app"],
        "tegata_app gets no USAGE by default on what tegata_owner makes",
    ),
    "what the administrator makes is the application's": (
        ["alter default privileges in schema public grant select on tables to tegata_app"],
        "tegata_app gets no SELECT by default on what postgres makes",
    ),
    "new functions are everybody's": (
        ["alter default privileges for role tegata_owner grant execute on functions to public"],
        "PUBLIC will not execute functions that are made later",
    ),
    "the application starts as a tenant": (
        ["alter role tegata_app set app.tenant_id = '00000000-0000-0000-0000-000000000001'"],
        "tegata_app starts without app.tenant_id",
    ),
    "the application starts as a tenant in this database": (
        ["alter role tegata_app in database untouched set app.tenant_id = '00000000-0000-0000-0000-000000000001'"],
        "tegata_app starts without app.tenant_id",
    ),
    "everybody in this database starts as a tenant": (
        ["alter database untouched set app.tenant_id = '00000000-0000-0000-0000-000000000001'"],
        "everybody starts without app.tenant_id",
    ),
    "the migrator starts as the owner": (
        ["alter role tegata_migrator set role = 'tegata_owner'"],
        "tegata_migrator starts without role",
    ),
}


@pytest.fixture(scope="module")
def dumps() -> dict[Cluster, str]:
    """What a sound set-up looks like on each server: the same before every test, so it is dumped once."""
    return {}


@pytest.mark.parametrize(("broken", "mended"), DRIFT.values(), ids=DRIFT)
def test_a_superuser_mends_it(
    bare_cluster: Cluster, enter: Enter, dumps: dict[Cluster, str], broken: list[str], mended: str
) -> None:
    superuser = enter("superuser")
    bootstrap(superuser, Plan())
    if bare_cluster not in dumps:
        dumps[bare_cluster] = dump(superuser, bindir=bare_cluster.bindir)
    sound = dumps[bare_cluster]
    run(superuser, *broken)
    outcome = bootstrap(superuser, Plan())
    assert mended in outcome.changed
    assert outcome.left == ()
    assert bootstrap(superuser, Plan()) == NOTHING
    # What was only there to break it (roles, schemas) is none of the bootstrap's; all else is as it was.
    strange = (
        "strong",
        "between",
        "landlord",
        "OWNER TO postgres",
        "stranger",
        "side",
        "CONNECT",
        "REVOKE ALL ON DATABASE",
        "DEFAULT PRIV",
    )
    left_over = set(dump(superuser, bindir=bare_cluster.bindir).splitlines()) ^ set(sound.splitlines())
    assert [line for line in left_over if not any(word in line for word in strange)] == []


BY_AN_ADMINISTRATOR = [
    "the owner logs in",
    "the application is the owner",
    "maintenance makes roles",
    "the application makes tables in the schema",
    "new tables are the application's",
    "everybody makes temporary tables",
    "the migrator passes the owner on",
]


@pytest.mark.parametrize("name", BY_AN_ADMINISTRATOR)
def test_an_administrator_without_superuser_mends_what_another_such_one_can_have_done(enter: Enter, name: str) -> None:
    administrator = enter("rds")
    broken, mended = DRIFT[name]
    bootstrap(administrator, Plan(stay_member=True))
    if "role" in broken[0].split()[:2] or "grant tegata" in broken[0]:
        run(administrator, *broken)
    else:
        as_whom = administrator if "database" in broken[0] else administrator.taking_role(OWNER)
        run(as_whom, *broken)
    outcome = bootstrap(administrator, Plan(stay_member=True))
    assert mended in outcome.changed
    assert outcome.left == ()


def test_what_only_a_superuser_may_mend_is_told_and_the_rest_is_done(enter: Enter) -> None:
    superuser, administrator = enter("superuser"), enter("rds")
    bootstrap(administrator, Plan())
    run(superuser, "alter role tegata_app superuser", "alter role tegata_maint createdb")
    outcome = bootstrap(administrator, Plan())
    assert outcome.changed == ("tegata_maint loses the attribute CREATEDB",)
    assert len(outcome.left) == 1
    assert "because master may not" in outcome.left[0]
    assert "[alter role tegata_app nosuperuser;]" in outcome.left[0]


def test_a_membership_that_a_superuser_granted_is_told_where_the_server_keeps_it_from_others(enter: Enter) -> None:
    superuser, administrator = enter("superuser"), enter("rds")
    bootstrap(administrator, Plan())
    run(superuser, "grant pg_read_all_data to tegata_app")
    outcome = bootstrap(administrator, Plan())
    still = run(superuser, "select 1 from pg_auth_members where roleid::regrole::text = 'pg_read_all_data'")
    assert bool(still) == any("revoke pg_read_all_data from tegata_app" in told for told in outcome.left)
    assert bool(still) != ("tegata_app is no member of pg_read_all_data any more" in outcome.changed)


def test_what_the_owner_of_the_database_must_do_is_told(enter: Enter) -> None:
    superuser, administrator = enter("superuser"), enter("guest")
    outcome = bootstrap(administrator, Plan())
    assert len(outcome.left) == 1
    assert "PUBLIC loses TEMPORARY on database untouched" in outcome.left[0]
    assert "[revoke TEMPORARY on database untouched from public;]" in outcome.left[0]
    run(superuser, "revoke TEMPORARY on database untouched from public")
    assert bootstrap(administrator, Plan()) == NOTHING


def test_what_lies_in_the_schema_and_is_somebody_elses_is_told_and_not_made_the_owners(enter: Enter) -> None:
    """A planted SECURITY DEFINER function would get the owner's rights."""
    superuser = enter("superuser")
    run(
        superuser,
        "create role intruder",
        "create schema tegata authorization intruder",
        "create function tegata.planted() returns void language sql security definer as 'select 1'",
        "alter function tegata.planted() owner to intruder",
        "create table tegata.thing (n integer)",
        "create type tegata.mood as enum ('good')",
        "create domain tegata.name as text",
        "alter table tegata.thing owner to intruder",
    )
    outcome = bootstrap(superuser, Plan())
    assert "schema tegata belongs to tegata_owner, no longer to intruder" in outcome.changed
    told = "\n".join(outcome.left)
    for statement in (
        "[alter routine tegata.planted() owner to tegata_owner;]",
        "[alter table tegata.thing owner to tegata_owner;]",
        "[alter type tegata.mood owner to tegata_owner;]",
        "[alter type tegata.name owner to tegata_owner;]",
    ):
        assert statement in told
    assert len(outcome.left) == 4
    assert run(superuser, "select proowner::regrole::text from pg_proc where proname = 'planted'") == [("intruder",)]


def test_the_migrator_has_no_right_by_inheritance_whoever_granted_it(enter: Enter) -> None:
    superuser, administrator = enter("superuser"), enter("rds")
    bootstrap(administrator, Plan())
    ((modern,),) = run(superuser, "select current_setting('server_version_num')::integer >= 160000")
    if not modern:
        return  # there the role's own attribute decides
    run(superuser, "grant tegata_owner to tegata_migrator with inherit true")
    outcome = bootstrap(superuser, Plan())
    assert outcome.changed == ("tegata_migrator has the rights of tegata_owner only after SET ROLE",)
    run(administrator, "grant tegata_owner to tegata_migrator with inherit true")
    assert bootstrap(administrator, Plan()).left == ()
    assert bootstrap(administrator, Plan()) == NOTHING


def test_a_role_that_somebody_has_shut_out_stays_out(enter: Enter) -> None:
    superuser = enter("superuser")
    bootstrap(superuser, Plan())
    run(
        superuser,
        "alter role tegata_app nologin",
        "alter role tegata_maint valid until '2020-01-01' connection limit 3",
    )
    outcome = bootstrap(superuser, Plan())
    assert outcome.changed == ()
    assert len(outcome.left) == 1
    assert "alter role tegata_app login" in outcome.left[0]
    assert run(superuser, "select rolcanlogin from pg_roles where rolname = 'tegata_app'") == [(False,)]


def test_rights_that_other_programs_have_given_their_own_roles_are_left_alone(enter: Enter) -> None:
    superuser = enter("superuser")
    bootstrap(superuser, Plan())
    run(
        superuser,
        "create role reporting",
        "create schema reports authorization reporting",
        "alter default privileges for role reporting grant select on tables to reporting",
        "grant create on database untouched to reporting",
        "grant pg_read_all_data to reporting",
        "create role monitoring",
        "grant monitoring to tegata_app",
        "alter role reporting set role = 'monitoring'",
    )
    assert bootstrap(superuser, Plan()) == NOTHING


@pytest.mark.parametrize("role", [APPLICATION, MAINTENANCE, MIGRATOR, OWNER])
def test_a_role_that_was_dropped_comes_back(enter: Enter, role: str) -> None:
    superuser = enter("superuser")
    bootstrap(superuser, Plan())
    if role == OWNER:
        run(superuser, "drop schema tegata, tegata_jobs", "drop owned by tegata_owner", "drop role tegata_owner")
    else:
        run(superuser, f"drop owned by {role}", f"drop role {role}")
    assert f"role {role} made" in bootstrap(superuser, Plan()).changed
    assert bootstrap(superuser, Plan()) == NOTHING


def test_names_that_others_have_chosen_steer_no_terminal(enter: Enter) -> None:
    superuser = enter("superuser")
    bootstrap(superuser, Plan())
    run(
        superuser,
        'create schema "x\x1b]0;owned\x07\nchanged: nothing"',
        'grant create on schema "x\x1b]0;owned\x07\nchanged: nothing" to public',
    )
    outcome = bootstrap(superuser, Plan())
    assert [sentence for sentence in outcome.changed if "PUBLIC may make nothing in schema x" in sentence]
    assert all(sentence.isprintable() for sentence in (*outcome.changed, *outcome.left))
