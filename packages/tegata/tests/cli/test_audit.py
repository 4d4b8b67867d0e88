"""`tegata audit`: what it finds, in which form, and that nothing in an event becomes a formula or an escape."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tegata.cli.audit import Form, as_text, cell, moment, printable, writer_of
from tegata.cli.failures import CommandFailure
from tegata.cli.main import app
from tegata.postgres.storage import PostgresOperatorStorage
from tegata.storage.records import AuditEvent
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.patience import PATIENT
from tegata.testing.records import event, inhabit
from tegata.testing.replicas import replicated

NOON = 1_800_014_400.0  # 2027-01-15T12:00:00Z
EVENT = AuditEvent(
    "0199c7a0-0000-7000-8000-000000000001",
    NOON + 0.000001,
    "sign_in.failed",
    "failure",
    actor="taro",
    client_id="web",
    reason="wrong_password",
    address="192.0.2.1",
    details={"count": 3},
)

Audit = Callable[..., Result]


async def _fill(database: MigratedDatabase, count: int) -> str:
    operator = PostgresOperatorStorage(database.maintenance, PATIENT)
    try:
        here, there = await inhabit(operator), await inhabit(operator)
        events = [event(("sign_in.failed", "token.issued")[n % 2], at=NOON + n) for n in range(count)]
        await operator.write_events([(here.tenant_id, found) for found in events])
        await operator.write_events([(there.tenant_id, event("only.there", at=NOON))])
    finally:
        await operator.close()
    return here.name


@pytest.fixture(scope="module")
def name(migrated_database: MigratedDatabase) -> str:
    """A tenant with 1,200 events, one a second."""
    return asyncio.run(_fill(migrated_database, 1200))


@pytest.fixture
def audit(migrated_database: MigratedDatabase, tmp_path: Path) -> Audit:
    settings = {
        "TEGATA_HOME": str(tmp_path),
        "TEGATA_MAINTENANCE_DATABASE_URL": migrated_database.maintenance.psycopg_conninfo(),
    }
    return lambda *words, **more: CliRunner().invoke(app, ["audit", *words], env=settings | more)


def lines(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_newest_hundred_come_first(audit: Audit, name: str) -> None:
    found = lines(audit(name, "--json", "--type", "t", "--since", "2027-01-15"))
    assert len(found) == 100
    assert found[0]["at"] == "2027-01-15T12:19:59.000000Z"
    assert [e["at"] for e in found] == sorted((str(e["at"]) for e in found), reverse=True)
    assert list(found[0]) == [
        *("at", "type", "outcome", "actor", "client_id", "reason", "address", "details", "event_id"),
    ]


def test_all_pages_together_hold_every_event_once(audit: Audit, name: str) -> None:
    found = lines(audit(name, "--json", "--limit", "100000", "--since", "2027-01-15T12:00", "--until", "2027-01-16"))
    assert len(found) == len({e["event_id"] for e in found}) == 1200


def test_a_type_and_a_time_narrow_the_search(audit: Audit, name: str) -> None:
    words = ("--since", "2027-01-15T12:00:10+00:00", "--until", "2027-01-15T12:00:20Z", "--type", "sign_in.")
    found = lines(audit(name, "--json", *words))
    assert [str(e["at"])[17:19] for e in found] == ["18", "16", "14", "12", "10"]


def test_nothing_of_another_tenant_is_found(audit: Audit, name: str) -> None:
    assert lines(audit(name, "--json", "--type", "only.")) == []


def test_details_that_nobody_can_read_do_not_hide_the_other_events(
    audit: Audit, migrated_database: MigratedDatabase
) -> None:
    """PostgreSQL keeps JSON that Python's parser refuses: deeper, and with longer numbers. Also any kind of value."""
    tenant = asyncio.run(_fill(migrated_database, 2))
    strange = ["[1]", "null", '"x"', "7", "[" * 3000 + "]" * 3000, "[" + "1" * 5000 + "]"]
    with psycopg.connect(migrated_database.admin.psycopg_conninfo()) as connection:
        connection.execute(
            "insert into tegata.audit_event (tenant_id, event_id, at, type, outcome, details)"
            " select t.tenant_id, gen_random_uuid(), to_timestamp(%s + d.n), 'token.issued', 'success', d.text::jsonb"
            " from tegata.tenant t, unnest(%s::text[]) with ordinality d (text, n) where t.name = %s",
            (NOON, strange, tenant),
        )
    found = lines(audit(tenant, "--json"))
    details = [dict(event["details"]) for event in found]  # type: ignore[call-overload]
    assert {"count": 1} in details
    assert sum("unreadable" in each for each in details) == len(strange)
    assert len(audit(tenant).stdout.splitlines()) == len(found)


def test_csv_has_a_line_of_names_and_one_for_each_event(audit: Audit, name: str) -> None:
    rows = list(csv.DictReader(io.StringIO(audit(name, "--csv", "--limit", "7").stdout, newline="")))
    assert len(rows) == 7
    assert json.loads(rows[0]["details"]) == {"count": 1}


def test_text_is_a_line_an_event(audit: Audit, name: str) -> None:
    found = audit(name, "--limit", "2", "--since", "2027-01-15").stdout.splitlines()
    assert found[0] == "2027-01-15T12:19:59.000000Z  success  token.issued  count=1"
    assert len(found) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nobody"], "there is no tenant nobody"),
        (["x", "--json", "--csv"], "exclude each other"),
        (["x", "--since", "yesterday"], "--since is a time"),
        (["x", "--until", "2027-13-01"], "--until is a time"),
        (["x", "--limit", "0"], "--limit"),
    ],
)
def test_what_cannot_be_searched_for_is_told(audit: Audit, words: list[str], told: str) -> None:
    result = audit(*words)
    assert result.exit_code != 0
    assert told in result.output + str(result.exception)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2027-01-15", NOON - 12 * 3600),
        ("2027-01-15T12:00", NOON),
        ("2027-01-15T12:00:00Z", NOON),
        ("2027-01-15T21:00:00+09:00", NOON),
        ("90s", NOON - 90),
        ("15m", NOON - 900),
        ("24h", NOON - 86_400),
        ("7d", NOON - 7 * 86_400),
        ("2w", NOON - 14 * 86_400),
    ],
)
def test_times_are_dates_and_how_long_ago(text: str, at: float) -> None:
    assert moment("--since", text, now=NOON) == at


@pytest.mark.parametrize("text", ["", "now", "24", "-1h", "1.5h", "9999999d", "2027", "99999w\x1b[2J"])
def test_other_times_are_refused_and_shown_safely(text: str) -> None:
    with pytest.raises(CommandFailure) as refused:
        moment("--since", text, now=NOON)
    assert str(refused.value).isprintable()


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x", "=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_never_begins_as_a_formula_does(text: str) -> None:
    assert cell(text) == "'" + text
    out = io.StringIO()
    write = writer_of("csv", out)
    write(replace(EVENT, actor=text, client_id=f'";{text}', reason=f"x\r\n{text}", details={"x": text}))
    names, row = csv.reader(io.StringIO(out.getvalue(), newline=""))
    written = dict(zip(names, row, strict=True))
    assert written["actor"] == "'" + text
    assert written["client_id"] == f'";{text}'
    assert json.loads(written["details"]) == {"x": text}
    # Also to a reader that takes a semicolon for the separator, every cell begins with a quotation mark.
    assert all(part.startswith('"') for part in out.getvalue().split("\r\n")[0].split(","))


@given(st.text())
def test_text_and_json_hold_no_control_character(hostile: str) -> None:
    nasty = replace(EVENT, actor=hostile, reason=hostile, details={"x": hostile})
    assert as_text(nasty).isprintable()
    out = io.StringIO()
    writer_of("json", out)(nasty)
    assert out.getvalue().rstrip("\n").isprintable()
    assert json.loads(out.getvalue())["actor"] == hostile


@pytest.mark.parametrize("at", [float("inf"), float("-inf"), 568_971_820_800.0, -1e15])
@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_an_event_of_an_impossible_time_does_not_hide_those_behind_it(form: Form, at: float) -> None:
    """Whoever can append an event can give it any time that PostgreSQL knows."""
    out = io.StringIO()
    write = writer_of(form, out)
    write(replace(EVENT, at=at))
    write(EVENT)
    assert str(at) in out.getvalue()
    assert "2027-01-15" in out.getvalue()


@given(st.text())
def test_a_cell_steers_no_terminal(hostile: str) -> None:
    assert all(c.isprintable() or c in "\t\r\n" for c in cell(hostile))


def test_an_escape_is_written_out_in_a_cell() -> None:
    assert cell("a\x1b]0;title\x07b") == r"a\x1b]0;title\x07b"


def test_a_value_does_not_pass_for_another_field() -> None:
    """A client id is whatever somebody has sent."""
    sent = replace(EVENT, client_id='web actor=admin "x', details={"actor": "admin", "empty": "", "list": [1, 2]})
    assert as_text(sent).endswith(
        r'sign_in.failed  actor=taro client_id="web actor=admin \"x" reason=wrong_password address=192.0.2.1'
        r' details.actor=admin empty="" list="[1, 2]"'
    )


def test_what_can_be_shown_is_left_as_it_is() -> None:
    assert printable("山田 太郎") == "山田 太郎"
    assert as_text(EVENT) == (
        "2027-01-15T12:00:00.000001Z  failure  sign_in.failed  "
        "actor=taro client_id=web reason=wrong_password address=192.0.2.1 count=3"
    )


def test_a_reader_that_has_seen_enough_ends_it_quietly(
    migrated_database: MigratedDatabase, name: str, tmp_path: Path
) -> None:
    command = f"{Path(sys.executable).parent / 'tegata'} audit {name} --limit 1200 --json | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command],
        env={
            "PATH": "/usr/bin:/bin",
            "TEGATA_HOME": str(tmp_path),
            "TEGATA_MAINTENANCE_DATABASE_URL": migrated_database.maintenance.psycopg_conninfo(),
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 1


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[MigratedDatabase, MigratedDatabase, Callable[[], None], str]]:
    """A writer and its replica, how to stop that, and a tenant."""
    with replicated() as both:
        filled = asyncio.run(_fill(both.writer, 10))
        yield both.writer, both.reader(), both.replica.stop, filled


def test_with_a_replica_the_same_is_found_and_without_it_too(
    servers: tuple[MigratedDatabase, MigratedDatabase, Callable[[], None], str], tmp_path: Path
) -> None:
    writer, reader, stop, filled = servers
    settings = {
        "TEGATA_HOME": str(tmp_path),
        "TEGATA_MAINTENANCE_DATABASE_URL": writer.maintenance.psycopg_conninfo(),
        "TEGATA_DATABASE_READER_URL": reader.app.psycopg_conninfo(),
    }
    alone = {name: value for name, value in settings.items() if "READER" not in name}
    expected = CliRunner().invoke(app, ["audit", filled, "--json"], env=alone)
    with_it = CliRunner().invoke(app, ["audit", filled, "--json"], env=settings)
    assert with_it.exit_code == 0, with_it.output
    assert with_it.stdout == expected.stdout != ""
    exported = CliRunner().invoke(app, ["export", "--tenant", filled], env=settings)
    assert exported.stdout == CliRunner().invoke(app, ["export", "--tenant", filled], env=alone).stdout != ""
    stop()
    without = CliRunner().invoke(app, ["audit", filled, "--json"], env=settings)
    assert without.stdout == expected.stdout
    assert without.stderr == "tegata: the replica is not used (unreachable); the writer is read\n"
