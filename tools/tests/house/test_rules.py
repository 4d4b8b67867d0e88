"""Each house rule finds the breach it is there for, and leaves the same thing alone where it is in order."""

from __future__ import annotations

import pytest

from house import broad_except, published_text, pure_code, sizes, sql_text, tenant_tables
from house.__main__ import judge
from house.source import Source

PURE = "packages/tegata/src/tegata/protocol/pkce.py"
FLOW = "packages/tegata/src/tegata/flows/authorize.py"
MIGRATION = "packages/tegata/src/tegata/postgres/migrations/versions/0002_more.py"


@pytest.mark.parametrize(
    "text",
    [
        "import datetime\nx = datetime.datetime.now(datetime.UTC)",
        "from datetime import datetime as dt\nx = dt.utcnow()",
        "from datetime import date\nx = date.today",
        "import time\nx = time.time()",
        "import uuid\nx = uuid.uuid4()",
        "from uuid import uuid7\nx = uuid7()",
        "import secrets\nx = secrets.token_urlsafe()",
        "from random import choice\nx = choice",
        "import os\nx = os.environ",
        "from tegata.crypto.digests import new_secret\nx = new_secret()",
        "from tegata.crypto import digests\nx = digests.new_identifier()",
        "print('x')",
        "x = open('x')",
    ],
)
def test_rules_must_not_ask_for_time_randomness_or_files(text: str) -> None:
    assert list(pure_code.check(Source(PURE, text)))
    assert not list(pure_code.check(Source(FLOW, text)))


def test_rules_may_use_times_and_identifiers_that_they_are_given() -> None:
    text = "from datetime import datetime, timedelta\nfrom uuid import UUID\ndef f(now: datetime, u: UUID): return now"
    assert not list(pure_code.check(Source(PURE, text)))


@pytest.mark.parametrize("caught", ["", " Exception", " BaseException as error", " (ValueError, Exception)"])
def test_catching_everything_is_found(caught: str) -> None:
    text = f"try:\n    pass\nexcept{caught}:\n    pass"
    assert [finding.line for finding in broad_except.check(Source(FLOW, text))] == [3]
    assert not list(broad_except.check(Source("packages/tegata/src/tegata/api/errors.py", text)))
    assert not list(broad_except.check(Source("packages/tegata/tests/flows/test_authorize.py", text)))


@pytest.mark.parametrize("last", ["raise", "raise Unavailable() from error"])
def test_catching_everything_to_tidy_up_and_raise_is_in_order(last: str) -> None:
    text = f"try:\n    pass\nexcept BaseException as error:\n    tidy()\n    {last}"
    assert not list(broad_except.check(Source(FLOW, text)))


@pytest.mark.parametrize(
    "statement",
    [
        "f'select {column}'",
        "'select %s' % column",
        "'select ' + column",
        "'select {}'.format(column)",
        "' '.join(parts)",
        "f'select ' + column",
    ],
)
def test_sql_joined_from_parts_is_found_outside_of_postgres(statement: str) -> None:
    text = f"async def f(connection, column, parts):\n    await connection.fetch({statement})"
    assert list(sql_text.check(Source(FLOW, text)))
    assert not list(sql_text.check(Source("packages/tegata/src/tegata/postgres/engine.py", text)))


def test_constant_sql_with_parameters_is_in_order() -> None:
    text = "async def f(connection, x):\n    await connection.fetch('select $1' ' from t', x)\n    fetch(f'{x}')"
    assert not list(sql_text.check(Source(FLOW, text)))


@pytest.mark.parametrize(
    "text",
    [
        "op.execute('create table tegata.thing (id uuid)')",
        "op.execute(f'CREATE TABLE {SCHEMA}.thing (id uuid)')",
        "op.execute('create unlogged table if not exists ' + 'thing (id uuid)')",
        "op.execute(text('create table thing (id uuid)'))",
        "op.create_table('thing', column)",
    ],
)
def test_a_table_without_a_wall_is_found(text: str) -> None:
    assert [finding.subject for finding in tenant_tables.check(Source(MIGRATION, text))] == ["thing"]
    assert not list(tenant_tables.check(Source(MIGRATION, text + "\nfence('thing', application='select')")))


def test_the_tenant_table_operation_and_indexes_are_in_order() -> None:
    text = "create_tenant_table('thing', 'x text', key=['x'])\nop.execute('create index on tegata.thing (tenant_id)')"
    assert not list(tenant_tables.check(Source(MIGRATION, text)))


@pytest.mark.parametrize(
    "line",
    [
        "see https://files." + "pythonhosted" + ".org/packages",
        "index = 'https://" + "pypi" + ".org/simple'",
        'open("/' + 'home/somebody/notes")',
        "cd /" + "root/project",
        "-----BEGIN " + "PRIVATE KEY-----",
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        '"resolved": "' + 'https://mirror.example/x.tgz"',
    ],
)
def test_addresses_machine_paths_and_private_keys_are_found(line: str) -> None:
    assert [finding.line for finding in published_text.check(Source("docs/page.md", f"text\n{line}\n"))] == [2]


@pytest.mark.parametrize("line", ["https://op.example/home/page", "GET /{tenant}/work", "-----BEGIN PUBLIC KEY-----"])
def test_addresses_of_the_server_itself_are_in_order(line: str) -> None:
    assert not list(published_text.check(Source("docs/page.md", line)))


def test_a_file_over_400_lines_is_found() -> None:
    assert list(sizes.check(Source(FLOW, "x = 1\n" * 401)))
    assert not list(sizes.check(Source(FLOW, "x = 1\n" * 400)))
    assert not list(sizes.check(Source("docs/page.md", "text\n" * 401)))


def test_an_exception_silences_its_rule_in_its_file_alone() -> None:
    long = "x = 1\n" * 401
    sources = [Source(FLOW, long), Source(PURE, long)]
    assert [finding.path for finding in judge(sources, {"file-size": {FLOW: "a reason"}})] == [PURE]


def test_an_exception_that_is_not_needed_is_found() -> None:
    findings = list(judge([Source(FLOW, "x = 1\n")], {"file-size": {FLOW: "a reason"}}))
    assert [(finding.rule, finding.path) for finding in findings] == [("file-size", FLOW)]
