"""Two tenants with a row in every table, an intruder who has the first one's context, and everything of the second one
that must not come out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from tegata.postgres.doctor import TEGATA
from tegata.postgres.doctor.relations import Relation, find_relations
from tegata.postgres.doctor.rows import Canary
from tegata.testing.clusters import MigratedDatabase

Rows = list[tuple[Any, ...]]
_FEW = 8  # characters of a value that nobody would guess


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt brought: rows and a count, or an error."""

    rows: Rows
    count: int
    sqlstate: str | None
    message: str

    @property
    def is_refused(self) -> bool:
        return self.sqlstate is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was seen and nothing was changed."""
        return self.is_refused or (not self.rows and self.count <= 0)


@dataclass(slots=True)
class Siege:
    """The intruder's connection, and the count of attempts by kind."""

    database: MigratedDatabase
    mine: UUID
    theirs: UUID
    relations: list[Relation]
    my_rows: dict[int, dict[str, Any]]
    their_rows: dict[int, dict[str, Any]]
    before: dict[str, list[str]]
    attempts: dict[str, int] = field(default_factory=dict)
    successes: list[str] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    _usual: psycopg.Connection[Any] | None = None

    def close(self) -> None:
        """End the usual session."""
        self._stack.close()

    @property
    def tables(self) -> list[Relation]:
        """What the intruder may name at all: every table, also those without a right."""
        return [each for each in self.relations if each.parent is None]

    @property
    def partitions(self) -> list[Relation]:
        return [each for each in self.relations if each.parent is not None]

    @property
    def secrets(self) -> set[str]:
        """Every value of the other tenant that the intruder does not bring along."""
        found = {text for rows in self.before.values() for row in rows for text in _leaves(json.loads(row))}
        return {text for text in found if len(text) >= _FEW and text != str(self.theirs)} - self._known()

    def _known(self) -> set[str]:
        return {text for row in self.my_rows.values() for text in _leaves({k: str(v) for k, v in row.items()})}

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A session of the application role; every transaction in it begins with the intruder's tenant."""
        with psycopg.connect(self.database.app.psycopg_conninfo(), autocommit=True) as connection:
            connection.execute("set statement_timeout = '60s'")
            connection.execute("set lock_timeout = '30s'")
            yield connection

    def attempt(
        self,
        kind: str,
        statement: str | sql.Composed,
        parameters: Sequence[object] = (),
        *,
        connection: psycopg.Connection[Any] | None = None,
        in_context: bool = True,
        brought: Sequence[object] = (),
    ) -> Outcome:
        """Try one statement as the intruder, and commit if it works. What of the other tenant comes out is a success.

        `brought`: values of the other tenant that the intruder is supposed to know already.
        """
        self.attempts[kind] = self.attempts.get(kind, 0) + 1
        if connection is None:
            # One session for all attempts that leave nothing behind in it.
            if self._usual is None or self._usual.closed:
                self._usual = self._stack.enter_context(self.connection())
            connection = self._usual
        outcome = self._try(connection, statement, parameters, in_context)
        shown = json.dumps([list(map(_text, row)) for row in outcome.rows]) + outcome.message
        known = {text for value in (*parameters, *brought) for text in _leaves(_text(value))}
        leaked = [secret for secret in self.secrets - known if secret in shown]
        if leaked:
            self.successes.append(f"{kind}: {statement!r} showed {leaked}")
        return outcome

    def _try(
        self,
        connection: psycopg.Connection[Any],
        statement: str | sql.Composed,
        parameters: Sequence[object],
        in_context: bool,
    ) -> Outcome:
        composed = statement.encode() if isinstance(statement, str) else statement
        try:
            # Without a context also without a transaction: some commands exist only so.
            with connection.transaction() if in_context else nullcontext():
                if in_context:
                    connection.execute("select set_config('app.tenant_id', %s, true)", (str(self.mine),))
                cursor = connection.execute(composed, parameters or None)
                rows = cursor.fetchall() if cursor.description else []
                return Outcome(rows, 0 if cursor.description else cursor.rowcount, None, "")
        except psycopg.Error as error:
            told = error.diag
            parts = (told.message_primary, told.message_detail, told.message_hint, told.context, str(error))
            return Outcome([], 0, error.sqlstate or "client", " ".join(part for part in parts if part))

    def expect(self, holds: bool, what: str) -> None:
        """Count it as a success of the intruder if something is not as it must be."""
        if not holds:
            self.successes.append(what)

    def verify(self) -> None:
        """Nothing came out, and not one row of the other tenant has changed."""
        after = their_rows(self.database, self.relations, self.theirs)
        self.expect(after == self.before, "rows of the other tenant have changed")
        assert not self.successes, "\n".join(dict.fromkeys(self.successes))


@contextmanager
def besieged(database: MigratedDatabase) -> Iterator[Siege]:
    """Give both tenants a row in every table and partition, made from the catalogue."""
    with psycopg.connect(database.admin.psycopg_conninfo()) as connection:
        connection.execute("set search_path = ''")
        relations = find_relations(connection, TEGATA)
        mine, theirs = Canary(connection, TEGATA), Canary(connection, TEGATA)
        for canary in (mine, theirs):
            assert list(canary.settle(relations)) == []
        for canary, name in ((mine, "mine"), (theirs, "theirs")):
            connection.execute("insert into tegata.tenant_directory values (%s, %s)", (f"{name}-name", canary.tenant))
    tables = {each.oid for each in relations if not each.is_view}
    assert isinstance(mine.tenant, UUID)
    assert isinstance(theirs.tenant, UUID)
    siege = Siege(
        database,
        mine.tenant,
        theirs.tenant,
        [each for each in relations if each.oid in tables],
        dict(mine.settled),
        dict(theirs.settled),
        their_rows(database, relations, theirs.tenant),
    )
    assert len(siege.secrets) > 20
    try:
        yield siege
    finally:
        siege.close()


def their_rows(database: MigratedDatabase, relations: Sequence[Relation], tenant: object) -> dict[str, list[str]]:
    """Every row of a tenant, as the superuser sees it."""
    found = {}
    with psycopg.connect(database.admin.psycopg_conninfo()) as connection:
        for relation in relations:
            statement = sql.SQL("select to_jsonb(t)::text from {} t where {} = %s order by 1").format(
                relation.identifier, sql.Identifier(relation.column)
            )
            found[str(relation)] = [str(row[0]) for row in connection.execute(statement, (tenant,)).fetchall()]
    return found


def _text(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        return "\\x" + bytes(value).hex()
    return str(value)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, bytes | str):
        yield _text(value)
