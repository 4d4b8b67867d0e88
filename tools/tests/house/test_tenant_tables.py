"""A migration that leaves a hole in the wall is found, however it is written; one that is in order is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from house import tenant_tables
from house.source import Source

ROOT = Path(__file__).resolve().parents[3]
MIGRATION = "packages/tegata/src/tegata/postgres/migrations/versions/0099_more.py"


def subjects(text: str) -> list[str]:
    return [finding.subject for finding in tenant_tables.check(Source(MIGRATION, text))]


@pytest.mark.parametrize(
    "text",
    [
        "op.execute('create table tegata.thing (id uuid)')",
        "op.execute(f'CREATE TABLE {SCHEMA}.thing (id uuid)')",
        "op.execute('create unlogged table if not exists ' + 'thing (id uuid)')",
        "op.execute('create\\n  UNLOGGED\\ttable\\n\\n  thing (id uuid)')",
        "op.execute('create /* for now */ table -- a table\\n thing (id uuid)')",
        "op.execute('create /* a /* b */ c */ table thing (id uuid)')",
        'op.execute(\'create table "tegata"."thing" (id uuid)\')',
        "op.execute('create table tegata . thing as select 1')",
        "op.execute('create global temporary table thing (id uuid)')",
        "op.execute('create foreign table tegata.thing (id uuid) server s')",
        "op.execute('create table tegata.thing partition of tegata.audit_event for values in (1)')",
        "op.execute('select * into tegata.thing from tegata.account')",
        "op.execute('with x as (select 1) select * into unlogged table tegata.thing from x')",
        "op.execute(text('create table thing (id uuid)'))",
        "op.execute('create table %s (id uuid)' % 'thing')",
        "op.execute(' '.join(['create', 'table', 'thing (id uuid)']))",
        "STATEMENTS = ['create table thing (id uuid)']\nfor s in STATEMENTS:\n    op.execute(s)",
        "op.get_bind().exec_driver_sql('create table thing (id uuid)')",
        "op.execute('do $$ begin create table tegata.thing (id uuid); end $$')",
        "op.create_table('thing', column)",
    ],
)
def test_a_table_without_a_wall_is_found(text: str) -> None:
    assert subjects(text) == ["thing"]
    assert subjects(text + "\nfence('thing', application='select')") == []
    assert subjects(text + "\nfence(name='thing', application='select')") == []
    assert subjects(text + "\nfence('other', application='select')") == ["thing"]


@pytest.mark.parametrize(
    "text",
    [
        "op.execute(f'create table {SCHEMA}.{name} (id uuid)')",
        "op.execute('do $$ begin execute format($f$create table tegata.%I (id uuid)$f$, part); end $$')",
        "op.create_table(name, column)",
        "metadata.create_all(op.get_bind())",
    ],
)
def test_a_table_whose_name_cannot_be_seen_is_found(text: str) -> None:
    assert len(subjects(text)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "alter table tegata.account disable row level security",
        "ALTER TABLE IF EXISTS ONLY tegata.account\n DISABLE ROW LEVEL SECURITY",
        "alter table tegata.account no force row level security",
        "alter table tegata.account add column x text, no  force row level security",
        "drop policy tenant_iso on tegata.account",
        "drop policy if exists tenant_iso on account",
        "alter policy tenant_allow on tegata.account using (true)",
        "create policy open on tegata.account using (true)",
        'create policy "too open" on tegata.account using (true)',
    ],
)
def test_taking_the_wall_down_is_found(statement: str) -> None:
    assert subjects(f"op.execute('''{statement}''')") == ["account"]
    assert subjects(f"op.execute('''select 1; {statement}; select 2''')") == ["account"]


@pytest.mark.parametrize(
    "statement",
    [
        "grant select on tegata.account to public",
        "GRANT SELECT ON tegata.account TO tegata_app, PUBLIC",
        "grant all on tegata.account to tegata_app",
        "grant all privileges on tegata.account to tegata_app",
        "grant select, truncate on tegata.account to tegata_app",
        "grant references on tegata.account to tegata_app",
        "grant trigger on tegata.account to tegata_app",
        "grant maintain on tegata.account to tegata_maint",
        "grant create on schema tegata to tegata_app",
        "grant select on all tables in schema tegata to tegata_app",
        "grant select on tegata.account to tegata_app with grant option",
        "grant tegata_owner to tegata_app",
        "alter default privileges in schema tegata grant select on tables to tegata_app",
        "alter role tegata_app bypassrls",
        "create user helper superuser",
        "set role tegata_app",
        "set local row_security = off",
        "reset role",
        "set session authorization postgres",
        "alter table tegata.account owner to tegata_app",
        "create view tegata.accounts as select * from tegata.account",
        "create or replace view tegata.accounts with (security_invoker = false) as select * from tegata.account",
        "create materialized view tegata.accounts as select * from tegata.account",
        "create sequence tegata.counter",
        "alter table tegata.account add column n bigserial",
        "alter table tegata.account add column n bigint generated always as identity",
    ],
)
def test_a_right_that_policies_do_not_filter_is_found(statement: str) -> None:
    assert len(subjects(f"op.execute('''{statement}''')")) >= 1
    assert len(subjects(f"def upgrade():\n    run(f'''{statement.upper()}''')")) >= 1


@pytest.mark.parametrize(
    "text",
    [
        "op.execute(Path(__file__).with_suffix('.sql').read_text())",
        "op.execute(open('x.sql').read())",
        "op.execute(files('tegata').joinpath('x.sql').read_text())",
    ],
)
def test_statements_from_another_file_are_found(text: str) -> None:
    assert subjects(text)


@pytest.mark.parametrize(
    "text",
    [
        "create_tenant_table('thing', 'x text', key=['x'])",
        "create_tenant_table('role', 'description text', key=['name'])",
        "op.execute('create index on tegata.thing (tenant_id)')",
        "op.execute('grant select, insert, update (password_hash) on tegata.account to tegata_app')",
        "op.execute(f'grant execute on function tegata.{name} to tegata_app, tegata_maint')",
        "op.execute('revoke all on function tegata.x() from public')",
        "op.execute('alter table tegata.account enable row level security')",
        "op.execute('alter table tegata.account force row level security')",
        "op.execute('create view tegata.accounts with (security_invoker = true) as select * from tegata.account')",
        "op.execute('-- create table tegata.thing (id uuid)\\n select 1')",
        "op.execute('insert into tegata.thing select * from tegata.other')",
        "op.execute('do $$ begin select count(*) into held from tegata.thing; end $$')",
        '"""This creates no table: create table thing."""',
        "def upgrade():\n    '''Drop policy x on y is what this never does.'''",
        "op.execute('alter table tegata.thing alter column role set not null')",
    ],
)
def test_what_is_in_order_is_left_alone(text: str) -> None:
    assert subjects(text) == []


def test_only_migrations_are_read() -> None:
    text = "op.execute('create table tegata.thing (id uuid)')"
    assert not list(tenant_tables.check(Source("packages/tegata/src/tegata/postgres/migrations/tenant_table.py", text)))
    assert not list(tenant_tables.check(Source("packages/tegata/tests/postgres/test_doctor.py", text)))


def test_the_migrations_that_there_are_have_their_exceptions_written_down() -> None:
    directory = ROOT / "packages/tegata/src/tegata/postgres/migrations/versions"
    allowed = (ROOT / "tools/house/allowed.toml").read_text()
    files = sorted(directory.glob("[0-9]*.py"))
    assert files
    for file in files:
        for finding in tenant_tables.check(Source(file.relative_to(ROOT).as_posix(), file.read_text())):
            assert f'"{finding.key}"' in allowed, str(finding)
