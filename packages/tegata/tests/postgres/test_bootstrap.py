"""Bootstrap: as every kind of administrator, any number of times, in any company, and the same when psql runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from tegata.postgres.bootstrap import (
    APPLICATION,
    LOGINS,
    MAINTENANCE,
    MIGRATOR,
    OWNER,
    Outcome,
    Plan,
    bootstrap,
    bootstrap_script,
    create_database,
)
from tegata.postgres.migrate import migrate, pending
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster
from tegata.testing.dumps import dump, psql

Enter = Callable[[str], ConnectionTarget]
NOTHING = Outcome((), ())
KINDS = ["superuser", "rds", "azure"]


def rows(target: ConnectionTarget, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def versions_of_rows(target: ConnectionTarget) -> list[tuple[object, ...]]:
    """The transactions that last wrote each row the bootstrap could touch."""
    return rows(
        target,
        "select 'role', rolname::text, xmin::text from pg_authid union all"
        " select 'membership', roleid || ' ' || member || ' ' || grantor, xmin::text from pg_auth_members union all"
        " select 'schema', nspname::text, xmin::text from pg_namespace where nspname !~ '^pg_' union all"
        " select 'database', datname::text, xmin::text from pg_database union all"
        " select 'defaults', format('%s %s', defaclrole, defaclobjtype), xmin::text from pg_default_acl union all"
        " select 'setting', setrole || ' ' || setdatabase, xmin::text from pg_db_role_setting order by 1, 2",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_administrator_makes_roles_that_can_do_nothing_but_their_work(enter: Enter, kind: str) -> None:
    administrator = enter(kind)
    outcome = bootstrap(administrator, Plan())
    assert outcome.left == ()
    assert {f"role {role} made" for role in (OWNER, *LOGINS)} <= set(outcome.changed)
    found = rows(
        administrator,
        "select rolname::text, rolcanlogin, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication"
        " from pg_roles where rolname like 'tegata%' order by 1",
    )
    assert found == [
        (APPLICATION, True, False),
        (MAINTENANCE, True, False),
        (MIGRATOR, True, False),
        (OWNER, False, False),
    ]
    memberships = rows(
        administrator,
        "select m.member::regrole::text, m.roleid::regrole::text from pg_auth_members m"
        " where m.member::regrole::text like 'tegata%' order by 1, 2",
    )
    assert memberships == [(MIGRATOR, APPLICATION), (MIGRATOR, OWNER)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_migrator_migrates_without_any_right_of_an_administrator(enter: Enter, kind: str) -> None:
    administrator = enter(kind)
    bootstrap(administrator, Plan())
    migrator = administrator.entering_as(MIGRATOR)
    migrate(migrator)
    assert not pending(migrator)
    owners = rows(
        migrator, "select distinct relowner::regrole::text from pg_class where relnamespace = 'tegata'::regnamespace"
    )
    assert owners == [(OWNER,)]
    # Its rights are there only after SET ROLE: nothing that it does by mistake is done by the owner.
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(migrator, "select * from tegata.tenant")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(administrator.entering_as(APPLICATION), "create table tegata.mine (n integer)")


@pytest.mark.parametrize("kind", KINDS)
def test_an_administrator_without_superuser_does_not_stay_a_member_of_the_owner(enter: Enter, kind: str) -> None:
    administrator = enter(kind)
    bootstrap(administrator, Plan())
    # From 16 on the creator of a role may grant it (ADMIN), whatever is done; acting as it is another right.
    held = rows(
        administrator,
        "select m.roleid::regrole::text from pg_auth_members m where m.member = current_user::regrole"
        " and m.roleid::regrole::text like 'tegata%' and coalesce((to_jsonb(m) ->> 'set_option')::boolean"
        " or (to_jsonb(m) ->> 'inherit_option')::boolean, true)",
    )
    assert held == []


@pytest.mark.parametrize("stay_member", [False, True], ids=["leaving", "staying"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_second_run_writes_no_row_of_the_catalogue(enter: Enter, kind: str, stay_member: bool) -> None:
    administrator, superuser = enter(kind), enter("superuser")
    plan = Plan(stay_member=stay_member)
    bootstrap(administrator, plan)
    for _ in ("without the tables", "with them"):
        before = versions_of_rows(superuser)
        assert bootstrap(administrator, plan) == NOTHING
        assert versions_of_rows(superuser) == before
        migrate(superuser)


@pytest.mark.parametrize("kind", KINDS)
def test_the_printed_script_has_the_same_effect_by_psql(bare_cluster: Cluster, enter: Enter, kind: str) -> None:
    administrator, superuser = enter(kind), enter("superuser")
    everybodys = superuser.in_database("postgres")
    bootstrap(administrator, Plan())
    by_us = dump(superuser, bindir=bare_cluster.bindir)
    (owner,) = rows(superuser, "select pg_get_userbyid(datdba) from pg_database where datname = 'untouched'")
    rows(everybodys, "drop database untouched")
    for role in (MIGRATOR, APPLICATION, MAINTENANCE, OWNER):
        rows(everybodys, f"drop role {role}")
    rows(everybodys, f"create database untouched template template0 owner {owner[0]}")
    script = bootstrap_script(Plan())
    for _ in range(2):
        finished = psql(administrator, script, bindir=bare_cluster.bindir)
        assert finished.returncode == 0, finished.stderr
    assert "changed: role" not in finished.stderr
    assert dump(superuser, bindir=bare_cluster.bindir) == by_us


def test_a_printed_script_that_fails_changes_nothing_and_psql_says_so(bare_cluster: Cluster, enter: Enter) -> None:
    superuser = enter("superuser")
    before = dump(superuser, bindir=bare_cluster.bindir)
    # Its last step but a few: there is no rds_iam on this server.
    finished = psql(superuser, bootstrap_script(Plan("rds")), bindir=bare_cluster.bindir)
    assert finished.returncode == 3
    assert "no role rds_iam" in finished.stderr
    assert dump(superuser, bindir=bare_cluster.bindir) == before


def test_the_printed_script_can_make_the_database(bare_cluster: Cluster, enter: Enter) -> None:
    everybodys = enter("superuser").in_database("postgres")
    script = bootstrap_script(Plan(), database="identity-eu", create=True)
    for _ in range(2):
        finished = psql(everybodys, script, bindir=bare_cluster.bindir)
        assert finished.returncode == 0, finished.stderr
    assert bootstrap(everybodys.in_database("identity-eu"), Plan()) == NOTHING
    assert not create_database(everybodys, "identity-eu")


def test_a_database_is_made_once(enter: Enter) -> None:
    everybodys = enter("rds").in_database("postgres")
    assert [create_database(everybodys, "it's new"), create_database(everybodys, "it's new")] == [True, False]
    assert bootstrap(everybodys.in_database("it's new"), Plan()).left == ()


def test_set_ups_of_several_databases_at_once_all_succeed(enter: Enter) -> None:
    first = enter("superuser")
    targets = [first, first]
    for name in ("second", "third"):
        create_database(first.in_database("postgres"), name)
        targets += [first.in_database(name)] * 2
    failures: list[Exception] = []
    ready = threading.Barrier(len(targets))

    def one(target: ConnectionTarget) -> None:
        ready.wait()
        try:
            bootstrap(target, Plan())
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [bootstrap(target, Plan()) for target in targets] == [NOTHING] * len(targets)


def test_a_set_up_that_is_killed_in_the_middle_leaves_nothing_behind(bare_cluster: Cluster, enter: Enter) -> None:
    superuser = enter("superuser")
    before = dump(superuser, bindir=bare_cluster.bindir)
    ended: list[Exception] = []

    def one() -> None:
        try:
            bootstrap(superuser, Plan())
        except psycopg.OperationalError as error:
            ended.append(error)

    with psycopg.connect(superuser.psycopg_conninfo()) as in_the_way:
        # Roles are made by name; the second one has to wait for this transaction.
        in_the_way.execute("create role tegata_maint")
        thread = threading.Thread(target=one)
        thread.start()
        _kill_who_waits(superuser, thread)
        thread.join()
        in_the_way.rollback()
    assert len(ended) == 1
    assert not isinstance(ended[0], psycopg.errors.LockNotAvailable)
    assert dump(superuser, bindir=bare_cluster.bindir) == before
    assert bootstrap(superuser, Plan()).left == ()


def _kill_who_waits(superuser: ConnectionTarget, thread: threading.Thread) -> None:
    while thread.is_alive():  # it gives up by itself
        if rows(
            superuser,
            "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'"
            " and query like '%create role%' and pid <> pg_backend_pid()",
        ):
            return
        time.sleep(0.005)
    raise AssertionError("nobody waits")


def test_an_administrator_without_createrole_is_told_what_is_needed(enter: Enter) -> None:
    superuser = enter("superuser")
    rows(superuser, "create role weak login")
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        bootstrap(superuser.entering_as("weak"), Plan())
    assert "create role tegata_app" in str(refused.value.diag.message_hint)


def test_roles_made_by_another_administrator_need_that_one_or_its_permission(enter: Enter) -> None:
    second, first = enter("azure"), enter("rds")
    bootstrap(first, Plan())
    create_database(second.in_database("postgres"), "another")
    target = second.in_database("another")
    if first_version(second) < 16:
        assert bootstrap(target, Plan()).left == ()
        return
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        bootstrap(target, Plan())
    rows(first, "grant tegata_owner to entra_admin with admin option")
    assert bootstrap(target, Plan()).left == ()


def first_version(target: ConnectionTarget) -> int:
    ((number,),) = rows(target, "select current_setting('server_version_num')::integer / 10000")
    assert isinstance(number, int)
    return number


def test_self_grants_of_newer_servers_are_nothing_to_mend(enter: Enter) -> None:
    administrator, superuser = enter("rds"), enter("superuser")
    if first_version(superuser) >= 16:
        rows(superuser, "alter role master set createrole_self_grant = 'set, inherit'")
    assert bootstrap(administrator, Plan()).left == ()
    assert bootstrap(administrator, Plan()) == NOTHING
