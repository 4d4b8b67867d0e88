"""The doctor on other projects' databases: a wall with other names, and one written the way that is usually taught."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from tegata.cli.failures import explain
from tegata.cli.main import app as command_line
from tegata.postgres.doctor import TEGATA, Diagnosis, Wall, as_json, examine
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import Cluster

# A shop with the same idea of a wall and not one name in common with Tegata.
SHOP = """
    create role shop_owner nologin; create role shop_web login; create role shop_worker login;
    create role shop_jobs login;
    create schema shop authorization shop_owner;
    create schema shop_archive authorization shop_owner;
    grant usage on schema shop, shop_archive to shop_web, shop_worker, shop_jobs;
    alter default privileges for role shop_owner revoke execute on functions from public;
    set role shop_owner;
    create function shop.current_org() returns bigint language sql stable set search_path = pg_catalog, pg_temp
      as $$ select nullif(current_setting('shop.org', true), '')::bigint $$;
    grant execute on function shop.current_org() to shop_web, shop_worker;
    create type shop.state as enum ('open', 'paid');
    create domain shop.amount as numeric check (value >= 0);
    create table shop.org (id bigint primary key, name text not null);
    create table shop.country (code text primary key);
    create table shop.customer (org_id bigint not null references shop.org, id uuid default gen_random_uuid(),
      email text not null, primary key (org_id, id), unique (org_id, email));
    create table shop."order" (org_id bigint not null references shop.org, id uuid, customer uuid not null,
      state text not null, mood shop.state not null, total shop.amount not null, at date not null, lines int[] not null,
      primary key (org_id, id, at, state), foreign key (org_id, customer) references shop.customer (org_id, id))
      partition by range (at);
    create table shop_archive.order_old partition of shop."order" for values from (minvalue) to ('2026-01-01');
    create table shop.order_2026 partition of shop."order" for values from ('2026-01-01') to ('2027-01-01')
      partition by list (state);
    create table shop.order_2026_open partition of shop.order_2026 for values in ('open');
    create table shop.order_2026_rest partition of shop.order_2026 default;
    create table shop.order_later partition of shop."order" default;
    create table shop.event (org_id bigint not null references shop.org, id uuid, primary key (org_id, id))
      partition by hash (id);
    create table shop.event_0 partition of shop.event for values with (modulus 2, remainder 0);
    create table shop.event_1 partition of shop.event for values with (modulus 2, remainder 1);
    reset role;
    do $$ declare t regclass; c text; begin
      for t in select oid from pg_class where relnamespace in ('shop'::regnamespace, 'shop_archive'::regnamespace)
                  and relkind in ('r', 'p') and relname <> 'country' loop
        c := case when t = 'shop.org'::regclass then 'id' else 'org_id' end;
        execute format('alter table %s enable row level security', t);
        execute format('alter table %s force row level security', t);
        execute format('create policy allow on %s using (%I = (select shop.current_org()))', t, c);
        execute format('create policy fence on %s as restrictive to shop_web, shop_worker '
                       'using (%I = (select shop.current_org()))', t, c);
        execute format('create policy jobs on %s to shop_jobs, shop_owner using (true)', t);
      end loop;
    end $$;
    grant select on shop.country to public;
    grant select, insert, update, delete on shop.customer, shop."order", shop.event to shop_web, shop_jobs;
    grant select on shop.customer, shop.org to shop_worker;
    do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$;
"""
SHOP_WALL = """
schemas = ["shop"]
application = ["shop_web", "shop_worker"]
owner = "shop_owner"
trusted = ["shop_jobs"]
tenant_column = "org_id"
tenant_type = "bigint"
tenant_table = "shop.org"
tenant_key = "id"
setting = "shop.org"
context = "shop.current_org()"
without_tenant = "nothing"

[exempt]
"shop.country" = ["SELECT"]
"""
SHOP_ROLES = "shop_owner, shop_web, shop_worker, shop_jobs"

# What a chapter on databases teaches: one role that owns everything, one policy, identities, grants on everything.
TAUGHT = """
    create role taught_owner login; create role taught_app login;
    create schema taught authorization taught_owner;
    set role taught_owner;
    create table taught.tenant (id uuid primary key, name text unique);
    create table taught.idp_user (id uuid primary key, tenant_id uuid not null references taught.tenant,
      email varchar(255) not null, unique (tenant_id, email));
    create table taught.user_device (id uuid primary key, tenant_id uuid not null,
      user_id uuid references taught.idp_user (id), token text unique);
    create table taught.permission (id serial primary key, tenant_id uuid, name text unique);
    create table taught.log (id uuid, tenant_id uuid not null, at timestamptz not null) partition by range (at);
    create table taught.log_2026 partition of taught.log for values from ('2026-01-01') to ('2027-01-01');
    create table taught.setting (id uuid primary key, value jsonb);
    create index user_email on taught.idp_user (lower(email));
    create view taught.users as select * from taught.idp_user;
    create function taught.count_users() returns bigint language sql security definer
      as 'select count(*) from taught.idp_user';
    alter table taught.idp_user enable row level security; alter table taught.idp_user force row level security;
    alter table taught.log enable row level security; alter table taught.log force row level security;
    create policy rls_user on taught.idp_user using (tenant_id = current_setting('app.tenant_id')::uuid);
    create policy rls_log on taught.log using (tenant_id = current_setting('app.tenant_id')::uuid);
    grant usage on schema taught to taught_app;
    grant all on all tables in schema taught to taught_app;
    grant usage, select on all sequences in schema taught to taught_app;
    alter default privileges in schema taught grant select, insert, update, delete on tables to taught_app;
    reset role;
"""
TAUGHT_WALL = Wall(
    schemas=("taught",),
    application=("taught_app",),
    owner="taught_owner",
    tenant_table="taught.tenant",
    setting="app.tenant_id",
    conditions=("({column} = (current_setting('app.tenant_id'::text))::uuid)",),
    missing=frozenset({"42704", "22P02"}),
)


def run(target: ConnectionTarget, statements: str) -> None:
    with psycopg.connect(target.psycopg_conninfo()) as connection:
        connection.execute(statements.encode())


@pytest.fixture
def shop(each_cluster: Cluster) -> Iterator[ConnectionTarget]:
    with each_cluster.empty_database() as target:
        run(target, SHOP)
        try:
            yield target
        finally:
            run(target, f"drop owned by shop_owner cascade; drop owned by {SHOP_ROLES}; drop role {SHOP_ROLES}")


def diagnose(shop: ConnectionTarget, wall: Wall | None = None) -> Diagnosis:
    return examine(shop, application=None, wall=wall or Wall.from_toml(SHOP_WALL))


def test_another_projects_wall_is_proven_in_every_partition(shop: ConnectionTarget) -> None:
    diagnosis = diagnose(shop)
    assert diagnosis.findings == ()
    assert diagnosis.remarks == ()
    assert diagnosis.is_proven
    alone = examine(shop, application=shop.entering_as("shop_web"), wall=Wall.from_toml(SHOP_WALL))
    assert alone.is_proven


@pytest.mark.parametrize(
    ("hole", "checks", "name"),
    [
        (
            "grant select on shop_archive.order_old to shop_web; alter table shop_archive.order_old disable row level"
            " security",
            {"T03", "G02", "L01", "L02", "L03"},
            "shop_archive.order_old",
        ),
        (
            "grant select, update on shop.order_2026_rest to shop_web;"
            "alter table shop.order_2026_rest disable row level security",
            {"T03", "G02", "L01", "L02", "L03", "L04"},
            "shop.order_2026_rest (update)",
        ),
        (
            "grant select on shop.event_1 to shop_worker; alter table shop.event_1 disable row level security",
            {"T03", "G02", "L01", "L02", "L03"},
            "shop.event_1",
        ),
        ("alter policy allow on shop.org using (id is not null)", {"T05"}, "shop.org, policy allow"),
        ("alter policy fence on shop.customer to shop_web", {"T06"}, "shop.customer"),
        ("grant insert on shop.country to shop_worker", {"T01", "G05"}, "shop.country: INSERT"),
    ],
    ids=[
        "a partition in another schema",
        "a partition of a partition",
        "a hash partition, for the second role only",
        "the tenants' own table",
        "the backstop of one of two roles",
        "an exempted table that one of two roles may write",
    ],
)
def test_a_hole_in_it_is_found(shop: ConnectionTarget, hole: str, checks: set[str], name: str) -> None:
    run(shop, hole)
    findings = diagnose(shop).findings
    assert {found.check for found in findings} == checks - ({"G05"} if "country" in name else set())
    assert name in {found.object for found in findings} or any(name in found.object for found in findings)


def test_what_could_not_be_tried_is_said(shop: ConnectionTarget) -> None:
    run(shop, "alter table shop.customer add column code text not null check (length(code) = 3 and code ~ '^[A-Z]')")
    diagnosis = diagnose(shop)
    assert diagnosis.findings == ()
    assert any("shop.customer" in remark for remark in diagnosis.remarks)
    assert any("shop.order" in remark for remark in diagnosis.remarks)
    assert diagnosis.is_healthy
    assert not diagnosis.is_proven


def test_the_way_that_is_taught_is_full_of_holes(each_cluster: Cluster) -> None:
    with each_cluster.empty_database() as target:
        run(target, TAUGHT)
        try:
            diagnosis = examine(target, application=target.entering_as("taught_app"), wall=TAUGHT_WALL)
        finally:
            run(
                target,
                "drop owned by taught_app; drop owned by taught_owner cascade; drop role taught_owner, taught_app",
            )
    found = {finding.check for finding in diagnosis.findings}
    assert {"T01", "T02", "T03", "T04", "T06", "I01", "I02", "I03", "F01", "F02", "V01", "V02", "G01", "G02"} <= found
    assert {"G03", "G04", "R05", "L01", "L02", "L03", "L04"} <= found
    assert "T05" not in found  # the condition is the one that the wall was told
    assert len([finding for finding in diagnosis.findings if not finding.check.startswith("L")]) >= 34
    assert any("taught.log_2026" in finding.object for finding in diagnosis.findings if finding.check == "L03")


def ended(error: BaseException | None) -> int:
    """The exit status with which `tegata` ends after this error."""
    failure = explain(error) if error is not None else None
    assert failure is not None
    return failure.exit_code


def test_the_command_examines_a_described_wall(
    shop: ConnectionTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "wall.toml"
    file.write_text(SHOP_WALL)
    monkeypatch.setenv("TEGATA_HOME", str(tmp_path))
    words = ["doctor", "--json", "--strict", "--wall", str(file)]
    missing = CliRunner().invoke(command_line, words)
    assert ended(missing.exception) == 2
    assert json.loads(missing.stdout)["status"] == "not_examined"
    monkeypatch.setenv("TEGATA_MIGRATION_DATABASE_URL", shop.psycopg_conninfo())
    healthy = CliRunner().invoke(command_line, words)
    report = json.loads(healthy.stdout)
    assert (healthy.exit_code, report["status"], report["proven"], report["findings"]) == (0, "healthy", True, [])
    assert report["attempts"] > 50
    run(shop, "do $$ begin execute format('grant temporary on database %I to public', current_database()); end $$")
    warned = CliRunner().invoke(command_line, words)
    assert (warned.exit_code, json.loads(warned.stdout)["status"]) == (1, "healthy")
    assert json.loads(warned.stdout)["findings"][0]["severity"] == "warning"
    assert CliRunner().invoke(command_line, [w for w in words if w != "--strict"]).exit_code == 0
    run(shop, "grant truncate on shop.customer to shop_web")
    found = CliRunner().invoke(command_line, words)
    assert (found.exit_code, json.loads(found.stdout)["status"]) == (1, "findings")


def test_a_database_that_is_away_is_told_in_json_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEGATA_HOME", str(tmp_path))
    monkeypatch.setenv("TEGATA_MIGRATION_DATABASE_URL", "postgresql://x:hunter2@127.0.0.1:1/x?connect_timeout=2")
    result = CliRunner().invoke(command_line, ["doctor", "--json"])
    assert ended(result.exception) == 3
    assert json.loads(result.stdout)["status"] == "not_examined"
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    "text",
    [
        "",
        SHOP_WALL + "colour = 1",
        SHOP_WALL.replace('"shop_owner"', "1"),
        SHOP_WALL.replace('["shop"]', '"shop"'),
        SHOP_WALL.replace("shop.current_org()", "shop.current_org"),
        SHOP_WALL.replace('"shop.country"', '"country"'),
        SHOP_WALL.replace('["SELECT"]', '["TRUNCATE"]'),
        SHOP_WALL.replace('"nothing"', '"silence"'),
        SHOP_WALL.replace('context = "shop.current_org()"', ""),
        SHOP_WALL.replace('"shop_jobs"', '"x\' or true"'),
        "schemas = [",
    ],
)
def test_a_description_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Wall.from_toml(text)


def test_the_report_has_a_documented_form() -> None:
    report = json.loads(as_json(Diagnosis((), 1, 2, ("not proven",))))
    assert report == {
        "version": 1,
        "status": "healthy",
        "proven": False,
        "checks": 1,
        "attempts": 2,
        "findings": [],
        "not_proven": ["not proven"],
    }


def test_conditions_may_be_given_as_they_are_printed() -> None:
    assert TEGATA.expected == ("({column} = ( SELECT tegata.current_tenant() AS current_tenant))",)
    assert replace(TEGATA, conditions=("(x)",)).expected == ("(x)",)
