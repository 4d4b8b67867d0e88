"""How the roles log in: passwords that the server never hears, IAM on Amazon RDS, Entra identities on Azure.

The two services cannot be had here. The role `rds_iam` is stood in for by a role of that name. A provider of security
labels can only be a library loaded into the server, so on Azure's part the statement itself and the recognition of a
map that is there are tested, with a row in the catalogue as the stand-in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from tegata.postgres.bootstrap import (
    APPLICATION,
    LOGINS,
    MAINTENANCE,
    MIGRATOR,
    BootstrapError,
    Outcome,
    Plan,
    bootstrap,
    bootstrap_script,
)
from tegata.postgres.migrate import migrate
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster
from tegata.testing.dumps import psql

Enter = Callable[[str], ConnectionTarget]
OBJECT_IDS = {role: UUID(int=number) for number, role in enumerate(LOGINS, 1)}


def run(target: ConnectionTarget, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        cursor = None
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor is not None and cursor.description else []


@pytest.fixture
def scram(bare_cluster: Cluster, enter: Enter) -> Iterator[ConnectionTarget]:
    """The superuser's way into a database where the three logins need passwords."""
    superuser = enter("superuser")
    ((hba,),) = run(superuser, "show hba_file")
    file = Path(str(hba))
    before = file.read_text()
    file.write_text("".join(f"local all {role} scram-sha-256\n" for role in LOGINS) + before)
    run(superuser, "alter system set log_statement = 'all'", "select pg_reload_conf()")
    yield superuser
    file.write_text(before)
    run(superuser, "alter system reset log_statement", "select pg_reload_conf()")


def with_password(target: ConnectionTarget, role: str, password: str) -> ConnectionTarget:
    return ConnectionTarget.from_url(
        psycopg.conninfo.make_conninfo(
            "", host=target.host, port=target.port, user=role, dbname=target.database, password=password
        )
    )


def test_a_password_works_and_is_never_heard_by_the_server(bare_cluster: Cluster, scram: ConnectionTarget) -> None:
    passwords = {role: f"correct horse 'battery' {role} ©" for role in LOGINS}
    outcome = bootstrap(scram, Plan(passwords=passwords))
    assert {f"{role} has a new password" for role in LOGINS} <= set(outcome.changed)
    for role, password in passwords.items():
        assert run(with_password(scram, role, password), "select current_user::text") == [(role,)]
        with pytest.raises(psycopg.OperationalError):
            run(with_password(scram, role, "something else"), "select 1")
    kept = run(scram, f"select rolpassword from pg_authid where rolname in {LOGINS}")
    assert len(kept) == 3
    assert all(str(verifier).startswith("SCRAM-SHA-256$") for (verifier,) in kept)
    log = bare_cluster._server.log_file.read_text()
    assert "tegata_bootstrap" in log  # it is logged what statements there were,
    assert "battery" not in log  # and no password is in them
    migrate(with_password(scram, MIGRATOR, passwords[MIGRATOR]))


def test_passwords_are_changed_only_when_they_are_given(scram: ConnectionTarget) -> None:
    bootstrap(scram, Plan(passwords={APPLICATION: "the password of the application"}))
    assert bootstrap(scram, Plan()) == Outcome((), ())
    assert run(with_password(scram, APPLICATION, "the password of the application"), "select 1") == [(1,)]


def test_a_plan_with_passwords_neither_prints_nor_shows_them() -> None:
    plan = Plan(passwords={APPLICATION: "the password of the application"})
    assert "the password" not in repr(plan)
    with pytest.raises(BootstrapError, match="never printed"):
        bootstrap_script(plan)


def test_on_rds_the_three_logins_get_rds_iam_and_nobody_else(enter: Enter) -> None:
    enter("rds")
    superuser = enter("superuser")
    outcome = bootstrap(superuser, Plan("rds"))
    assert outcome.left == ()
    members = run(
        superuser,
        "select member::regrole::text from pg_auth_members where roleid = 'rds_iam'::regrole"
        " and member::regrole::text like 'tegata%' order by 1",
    )
    assert members == [(APPLICATION,), (MAINTENANCE,), (MIGRATOR,)]
    assert bootstrap(superuser, Plan("rds")) == Outcome((), ())


def test_on_rds_the_administrator_can_do_it_where_it_may_grant_rds_iam(enter: Enter) -> None:
    administrator, superuser = enter("rds"), enter("superuser")
    outcome = bootstrap(administrator, Plan("rds"))
    assert outcome.left == ()
    assert bootstrap(administrator, Plan("rds")) == Outcome((), ())
    migrate(superuser.entering_as(MIGRATOR))


def test_on_rds_an_administrator_that_would_lose_its_password_is_warned(enter: Enter) -> None:
    administrator, superuser = enter("rds"), enter("superuser")
    bootstrap(administrator, Plan("rds"))
    ((modern,),) = run(superuser, "select current_setting('server_version_num')::integer >= 160000")
    run(superuser, "grant tegata_app to master" + (" with set true" if modern else ""))
    outcome = bootstrap(administrator, Plan("rds"))
    assert any("revoke tegata_app from master" in told for told in outcome.left)


def test_on_rds_no_administrator_is_made_a_member_of_a_role_that_logs_in_by_token(enter: Enter) -> None:
    administrator = enter("rds")
    bootstrap(administrator, Plan("rds"))
    assert bootstrap(administrator, Plan(stay_member=True)).changed == ("master may SET ROLE tegata_owner",)


def test_without_rds_iam_the_server_is_no_amazon_rds(enter: Enter) -> None:
    superuser = enter("superuser")
    with pytest.raises(psycopg.errors.RaiseException, match="no role rds_iam"):
        bootstrap(superuser, Plan("rds"))
    assert run(superuser, "select rolname from pg_roles where rolname like 'tegata%'") == []


def test_on_azure_each_role_is_labelled_with_its_identity(bare_cluster: Cluster, enter: Enter) -> None:
    administrator = enter("azure")
    with pytest.raises(BootstrapError, match="security label provider"):
        bootstrap(administrator, Plan("azure", OBJECT_IDS))
    # Roles and schema are there all the same, and the printed script fails at the same statement.
    assert bootstrap(administrator, Plan()) == Outcome((), ())
    finished = psql(administrator, bootstrap_script(Plan("azure", OBJECT_IDS)), bindir=bare_cluster.bindir)
    assert finished.returncode == 3
    statement = f"security label for \"pgaadauth\" on role tegata_app is 'aadauth,oid={UUID(int=1)},type=service'"
    assert statement in finished.stderr


def test_on_azure_a_role_that_has_its_identity_is_left_as_it_is(enter: Enter) -> None:
    administrator, superuser = enter("azure"), enter("superuser")
    bootstrap(administrator, Plan())
    run(
        superuser,
        "set allow_system_table_mods = on",
        *(
            "insert into pg_shseclabel (objoid, classoid, provider, label) values"
            f" ('{role}'::regrole, 'pg_authid'::regclass, 'pgaadauth', 'aadauth,oid={object_id},type=service')"
            for role, object_id in OBJECT_IDS.items()
        ),
    )
    try:
        assert bootstrap(administrator, Plan("azure", OBJECT_IDS)) == Outcome((), ())
        some = bootstrap(administrator, Plan("azure", {APPLICATION: OBJECT_IDS[APPLICATION]}))
        assert [told.split()[0] for told in some.left] == [MAINTENANCE, MIGRATOR]
        with pytest.raises(BootstrapError):
            bootstrap(administrator, Plan("azure", {APPLICATION: UUID(int=99)}))
    finally:
        run(superuser, "set allow_system_table_mods = on", "delete from pg_shseclabel")
