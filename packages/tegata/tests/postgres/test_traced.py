"""Spans of database acts: named by the function, with nothing that was given to it."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from tegata.identifiers import Digest, TenantId
from tegata.postgres import traced
from tegata.postgres.engine import Database
from tegata.postgres.storage import PostgresStorage
from tegata.postgres.traced import TracedDatabase, described, open_database
from tegata.storage.errors import StorageError, Unavailable
from tegata.telemetry.spans import Incoming
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.patience import PATIENT
from tegata.testing.spans import KeptSpans

pytestmark = pytest.mark.anyio

REQUEST = ("POST /{tenant}/token", {}, Incoming((), continued=False))
# Constants such as _TAKE = "select * from tegata.take_code($1, $2)".
STATEMENTS = re.findall(
    r'^_\w+ = \(?\s*"(select [^"]+)"',
    "".join(path.read_text() for path in Path(traced.__file__).parent.glob("*.py")),
    re.MULTILINE,
)


async def test_an_act_has_a_span_with_its_function_and_none_of_its_values(migrated_database: MigratedDatabase) -> None:
    kept = KeptSpans()
    storage = PostgresStorage(migrated_database.app, PATIENT, tracer=kept.tracer)
    try:
        with kept.tracer.request(*REQUEST):
            assert await storage.find_tenant("hidden-name") is None
            await storage.find_opaque_token(TenantId(uuid4()), Digest(b"hidden-digest"), now=0)
        await storage.check()  # of no request
    finally:
        await storage.close()
    *acts, _ = kept.ended
    assert [span.name for span in acts] == ["tegata.load_tenant", "tegata.find_opaque_token"]
    for span in acts:
        assert span.kind is SpanKind.CLIENT
        assert dict(span.attributes or {}) == {"db.system.name": "postgresql", "db.stored_procedure.name": span.name}
        assert "hidden" not in span.to_json()


async def test_an_error_leaves_its_sqlstate_and_no_word(migrated_database: MigratedDatabase) -> None:
    kept = KeptSpans()
    database = TracedDatabase(migrated_database.app, PATIENT, kept.tracer)
    try:
        with kept.tracer.request(*REQUEST), pytest.raises(Exception, match="hidden"):
            await database.value("select $1::text::integer", "hidden")
    finally:
        await database.close()
    span = kept.ended[0]
    assert (span.name, span.status.status_code) == ("SELECT", StatusCode.ERROR)
    assert dict(span.attributes or {})["db.response.status_code"] == "22P02"
    assert "hidden" not in span.to_json()


async def test_a_database_that_is_away_has_no_sqlstate(migrated_database: MigratedDatabase) -> None:
    kept = KeptSpans()
    database = TracedDatabase(migrated_database.app, PATIENT, kept.tracer)
    await database.close()
    with kept.tracer.request(*REQUEST), pytest.raises(Unavailable):
        await database.value("select 1")
    assert dict(kept.ended[0].attributes or {}) == {
        "db.system.name": "postgresql",
        "db.operation.name": "SELECT",
        "error.type": "Unavailable",
    }
    assert issubclass(Unavailable, StorageError)


def test_without_a_tracer_the_database_is_the_plain_one(migrated_database: MigratedDatabase) -> None:
    assert type(open_database(migrated_database.app, None, None)) is Database


def test_every_call_of_a_function_is_named_by_it() -> None:
    assert len(STATEMENTS) > 20
    for statement in STATEMENTS:
        name, said = described(statement)
        called = re.search(r"tegata\.(\w+)\(", statement)
        assert name == (f"tegata.{called[1]}" if called else "SELECT")
        assert not any(character in str(said) for character in "$%;")
