"""Logins that take turns: made, mended, and bound by the wall exactly as their role, whatever a session does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from tegata.postgres.bootstrap import (
    APPLICATION,
    FIRST_LOGINS,
    MAINTENANCE,
    MIGRATOR,
    OWNER,
    Outcome,
    Plan,
    bootstrap,
    bootstrap_script,
)
from tegata.postgres.bootstrap_pairs import LOGIN_PAIRS, ROTATOR
from tegata.postgres.doctor import TEGATA, examine
from tegata.postgres.migrate import migrate
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster
from tegata.testing.dumps import dump, psql
from tegata_credentials.rotation.postgres.pair import LoginPair

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
Enter = Callable[[str], ConnectionTarget]
NOTHING = Outcome((), ())
TAKING_TURNS = Plan(alternating=True)
GIVING_UP = ("reset role", "set role none", "discard all", "set session authorization default")
USERS = "select current_user::text, session_user::text"
MINE, OTHER = UUID(int=7), UUID(int=8)
FORBIDDEN = (
    f"set role {OWNER}",
    f"set role {MAINTENANCE}",
    "set role tegata_app_b",
    "set role tegata_maint_a",
    f"set role {ROTATOR}",
    "create table tegata.mine (n integer)",
    "create temporary table mine (n integer)",
    "select tegata_app_rotation.set_verifier('tegata_app_a', 'x')",
)


def run(target: ConnectionTarget, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = None
        for each in statements:
            cursor = connection.execute(each.encode())
        return cursor.fetchall() if cursor is not None and cursor.description else []


def enter_as(target: ConnectionTarget, login: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(target.entering_as(login).psycopg_conninfo(), autocommit=True)


def logins_of(role: str) -> tuple[str, ...]:
    return LOGIN_PAIRS[role]


@pytest.fixture(scope="module", params=["15", "18"])
def bare_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server of either kind: memberships have had options of their own since 16."""
    cluster = Cluster(POSTGRES_15 if request.param == "15" else None)
    if not cluster.is_installed:
        pytest.skip("PostgreSQL 15 is not installed")
    yield cluster
    cluster.stop()


@pytest.fixture
def made(enter: Enter) -> ConnectionTarget:
    """A database with pairs, migrated; the way in of its superuser."""
    return set_up(enter("superuser"))


@pytest.fixture(scope="module")
def kept(bare_cluster: Cluster) -> Iterator[ConnectionTarget]:
    """The same for tests that change neither roles nor the schema: one for all of them, on a server of its own."""
    cluster = Cluster(bare_cluster.bindir)
    try:
        with cluster.empty_database() as superuser:
            yield set_up(superuser)
    finally:
        cluster.stop()


def set_up(superuser: ConnectionTarget) -> ConnectionTarget:
    bootstrap(superuser, TAKING_TURNS)
    migrate(superuser.entering_as(logins_of(MIGRATOR)[0]))
    return superuser


def test_the_names_are_those_that_rotation_looks_for() -> None:
    for role, logins in LOGIN_PAIRS.items():
        assert LoginPair.of(role).logins == logins
    assert FIRST_LOGINS == ("tegata_app_a", "tegata_maint_a", "tegata_migrator_a", "tegata_rotator")


@pytest.mark.parametrize("kind", ["superuser", "rds"])
def test_every_kind_of_administrator_makes_pairs_and_a_second_run_finds_nothing_to_do(enter: Enter, kind: str) -> None:
    administrator = enter(kind)
    assert bootstrap(administrator, TAKING_TURNS).left == ()
    assert bootstrap(administrator, TAKING_TURNS) == NOTHING
    assert bootstrap(administrator, Plan()) == NOTHING
    found = run(
        administrator,
        "select rolname::text, rolcanlogin, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication"
        " from pg_roles where rolname like 'tegata%' order by 1",
    )
    logins = [login for pair in LOGIN_PAIRS.values() for login in pair]
    assert found == sorted(
        [(name, False, False) for name in (APPLICATION, MAINTENANCE, MIGRATOR, OWNER)]
        + [(name, True, False) for name in (*logins, ROTATOR)]
    )
    migrate(administrator.entering_as(logins_of(MIGRATOR)[1]))


def test_each_login_begins_as_its_role_and_makes_nothing_of_its_own(kept: ConnectionTarget) -> None:
    for role, logins in LOGIN_PAIRS.items():
        for login in logins:
            assert run(kept.entering_as(login), USERS) == [(role, login)]
    owners = run(
        kept, "select distinct relowner::regrole::text from pg_class where relnamespace = 'tegata'::regnamespace"
    )
    assert owners == [(OWNER,)]


def test_a_session_that_gives_its_role_up_is_bound_by_the_wall_as_before(kept: ConnectionTarget) -> None:
    run(
        kept,
        *(
            "insert into tegata.tenant (tenant_id, name, policy, pairwise_salt)"
            f" values ('{tenant}', '{tenant}', '{{}}', '')"
            for tenant in (MINE, OTHER)
        ),
    )
    for statement in ("select 1", *GIVING_UP):
        with enter_as(kept, logins_of(APPLICATION)[0]) as session:
            session.execute(statement.encode())
            with pytest.raises(psycopg.Error) as refused:
                session.execute("select tenant_id from tegata.tenant")
            assert refused.value.sqlstate == "TG001"
            session.execute("select set_config('app.tenant_id', %s, false)", (str(MINE),))
            assert session.execute("select tenant_id from tegata.tenant").fetchall() == [(MINE,)]
            for forbidden in FORBIDDEN:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(forbidden.encode())


def test_the_migrators_logins_have_the_owners_rights_only_after_set_role(
    kept: ConnectionTarget,
) -> None:
    for statement in ("select 1", *GIVING_UP):
        with enter_as(kept, logins_of(MIGRATOR)[0]) as session:
            session.execute(statement.encode())
            for denied in ("select 1 from tegata.tenant", "create table tegata.mine (n integer)"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(denied.encode())
            session.execute(f"set role {OWNER}".encode())
            session.execute("create table tegata.mine (n integer)")
            session.execute("drop table tegata.mine")


def test_the_doctor_finds_the_pairs_in_order_and_tries_the_wall_after_set_role_none(kept: ConnectionTarget) -> None:
    first, second = logins_of(APPLICATION)
    migrator = kept.entering_as(logins_of(MIGRATOR)[1])
    for login in (first, second):
        diagnosis = examine(migrator, application=kept.entering_as(login))
        assert diagnosis.is_proven, (diagnosis.findings, diagnosis.remarks)
        assert diagnosis.probes > 200


def test_a_login_that_has_given_its_role_up_is_held_by_every_check_and_canary(kept: ConnectionTarget) -> None:
    """As if the logins were application roles themselves, which is what `SET ROLE NONE` makes of a session."""
    wall = replace(TEGATA, application=(APPLICATION, *logins_of(APPLICATION)))
    diagnosis = examine(kept, wall=wall)
    assert diagnosis.is_proven, (diagnosis.findings, diagnosis.remarks)
    assert diagnosis.probes > 400


OWN_RIGHTS = {
    "alter role tegata_app_b superuser": "tegata_app_b: SUPERUSER",
    "alter role tegata_app_b bypassrls": "tegata_app_b: BYPASSRLS",
    "alter role tegata_app_b createrole": "tegata_app_b: CREATEROLE",
    "grant tegata_maint to tegata_app_b": "tegata_app_b: member of tegata_maint",
    "grant tegata_owner to tegata_app_b": "tegata_app_b: member of tegata_owner",
    "grant tegata_rotator to tegata_app_b": "tegata_app_b: member of tegata_rotator",
    "grant tegata_app to tegata_app_b with admin option": "tegata_app_b: member of tegata_app, with ADMIN",
    "grant select on tegata.tenant to tegata_app_b": "tegata_app_b: rights on table tegata.tenant",
    "create schema side authorization tegata_app_b": "tegata_app_b: owner of schema side",
}


def test_rights_of_a_logins_own_are_found_whether_or_not_the_server_uses_it(made: ConnectionTarget) -> None:
    run(made, *OWN_RIGHTS)
    for application in (None, made.entering_as(logins_of(APPLICATION)[0])):
        found = examine(made, application=application).findings
        assert {finding.object for finding in found if finding.check == "R08"} == set(OWN_RIGHTS.values())


def test_a_login_of_the_servers_own_that_is_no_pair_is_judged_alike(made: ConnectionTarget) -> None:
    run(made, "create role lodger login in role tegata_app", "alter role lodger set role = 'tegata_app'")
    assert examine(made, application=made.entering_as("lodger")).findings == ()
    run(made, "alter role lodger reset role", "grant select on tegata.tenant to lodger")
    found = examine(made, application=made.entering_as("lodger").taking_role(APPLICATION)).findings
    assert ("R08", "lodger: rights on table tegata.tenant") in {(finding.check, finding.object) for finding in found}


def test_a_setting_of_a_login_that_names_a_tenant_is_found_and_mended(made: ConnectionTarget) -> None:
    run(made, f"alter role tegata_app_a set app.tenant_id = '{MINE}'")
    found = examine(made, application=made.entering_as("tegata_app_a")).findings
    assert {"R06", "L05"} == {finding.check for finding in found}
    assert bootstrap(made, Plan()).changed == ("tegata_app_a starts without app.tenant_id",)


DRIFT = {
    "alter role tegata_maint_a superuser": "tegata_maint_a loses the attribute SUPERUSER",
    "grant tegata_maint to tegata_app_a": "tegata_app_a is no member of tegata_maint any more",
    "grant crowd to tegata_app_a": "tegata_app_a is no member of crowd any more",
    "revoke tegata_app from tegata_app_a": "tegata_app_a has what tegata_app has",
    "grant tegata_app to tegata_app_b with admin option": "tegata_app_b cannot pass on tegata_app any more",
    "alter role tegata_app_b noinherit": "tegata_app_b gets the attribute INHERIT",
    "alter role tegata_app_a reset role": "tegata_app_a begins its sessions as tegata_app",
    "alter role tegata_app_b set role = 'none'": "tegata_app_b begins its sessions as tegata_app",
    "alter role tegata_maint_b in database untouched set role = 'none'": "tegata_maint_b starts without role",
    "grant create on database untouched to tegata_app_a": "tegata_app_a loses CREATE on database untouched",
    "grant create on schema public to tegata_app_b": "tegata_app_b may make nothing in schema public any more",
    "alter default privileges in schema public grant select on tables to tegata_app_a": (
        "tegata_app_a gets no SELECT by default on what postgres makes"
    ),
    "alter role tegata_rotator createrole": "tegata_rotator loses the attribute CREATEROLE",
    "grant tegata_maint to tegata_rotator": "tegata_rotator is no member of tegata_maint any more",
}


def test_what_has_drifted_is_mended_although_nobody_asks_for_pairs_again(enter: Enter) -> None:
    superuser = enter("superuser")
    bootstrap(superuser, TAKING_TURNS)
    run(superuser, "create role crowd", *DRIFT)
    assert set(DRIFT.values()) <= set(bootstrap(superuser, Plan()).changed)
    assert bootstrap(superuser, TAKING_TURNS) == NOTHING


@pytest.mark.parametrize(
    "drift",
    [
        "create or replace function tegata_app_rotation.set_verifier(login name, verifier text) returns void"
        " language sql security definer as ''",
        "grant execute on function tegata_app_rotation.set_verifier(name, text) to public",
        "drop schema tegata_app_rotation cascade",
        "revoke usage on schema tegata_app_rotation from tegata_rotator",
    ],
    ids=["another function", "everybody's", "gone", "out of reach"],
)
def test_the_rotators_function_is_made_again_where_it_has_changed(enter: Enter, drift: str) -> None:
    superuser = enter("superuser")
    bootstrap(superuser, TAKING_TURNS)
    run(superuser, drift)
    (told,) = bootstrap(superuser, TAKING_TURNS).changed
    assert told == "tegata_rotator may set the passwords of tegata_app_a and tegata_app_b"
    assert bootstrap(superuser, TAKING_TURNS) == NOTHING


def test_a_function_that_belongs_to_somebody_else_is_not_trusted_whatever_its_text_is(enter: Enter) -> None:
    superuser = enter("superuser")
    bootstrap(superuser, TAKING_TURNS)
    setter = "function tegata_app_rotation.set_verifier(name, text)"
    run(
        superuser,
        "create role crowd",
        f"alter {setter} owner to crowd",
        "alter schema tegata_app_rotation owner to crowd",
    )
    assert any("belongs to another role" in told for told in bootstrap(superuser, TAKING_TURNS).left)


def test_the_rotator_sets_verifiers_of_pairs_and_nothing_else(made: ConnectionTarget) -> None:
    rotator = made.entering_as(ROTATOR)
    kept = "rolpassword from pg_authid where rolname = 'tegata_maint_b'"
    verifier = f"SCRAM-SHA-256$4096:{'A' * 22}==${'B' * 43}=:{'C' * 43}="
    run(rotator, f"select tegata_maint_rotation.set_verifier('tegata_maint_b', '{verifier}')")
    assert run(made, f"select {kept}") == [(verifier,)]
    for refused in (
        f"select tegata_maint_rotation.set_verifier('tegata_app_b', '{verifier}')",
        f"select tegata_maint_rotation.set_verifier('tegata_maint', '{verifier}')",
        "alter role tegata_maint_b password 'x'",
        "select 1 from tegata.tenant",
        f"set role {MAINTENANCE}",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(rotator, refused)


def test_roles_that_were_there_before_go_on_logging_in_and_somebody_is_told(enter: Enter) -> None:
    superuser = enter("superuser")
    bootstrap(superuser, Plan())
    outcome = bootstrap(superuser, TAKING_TURNS)
    assert len(outcome.left) == 3
    assert all("can still log in by itself" in told for told in outcome.left)
    assert run(superuser.entering_as(APPLICATION), USERS) == [(APPLICATION, APPLICATION)]
    run(superuser, *(f"alter role {role} nologin" for role in LOGIN_PAIRS))
    assert bootstrap(superuser, TAKING_TURNS) == NOTHING
    assert bootstrap(superuser, Plan()) == NOTHING


def test_on_rds_tokens_and_pairs_do_not_go_together_and_the_bootstrap_says_so(enter: Enter) -> None:
    enter("rds")
    superuser = enter("superuser")
    bootstrap(superuser, TAKING_TURNS)
    outcome = bootstrap(superuser, Plan("rds"))
    assert sum("Amazon RDS refuses its password" in told for told in outcome.left) == 6


def test_the_printed_script_has_the_same_effect_by_psql(bare_cluster: Cluster, enter: Enter) -> None:
    superuser = enter("superuser")
    bootstrap(superuser, TAKING_TURNS)
    by_us = dump(superuser, bindir=bare_cluster.bindir)
    everybodys = superuser.in_database("postgres")
    run(everybodys, "drop database untouched")
    for role in (*(login for pair in LOGIN_PAIRS.values() for login in pair), ROTATOR, *LOGIN_PAIRS, OWNER):
        run(everybodys, f"drop role {role}")
    run(everybodys, "create database untouched template template0")
    for _ in range(2):
        finished = psql(superuser, bootstrap_script(TAKING_TURNS), bindir=bare_cluster.bindir)
        assert finished.returncode == 0, finished.stderr
    assert "changed: " not in finished.stderr
    assert dump(superuser, bindir=bare_cluster.bindir) == by_us
