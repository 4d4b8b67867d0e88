"""Indexes on tables that have rows: made without stopping writes, and made again when a crash left half of one.

CREATE INDEX CONCURRENTLY runs outside of transactions. One that is interrupted leaves an index behind that is invalid:
it costs writes and serves no read, and `if not exists` would take it for the real one (PostgreSQL manual, "Building
Indexes Concurrently").
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

from tegata.postgres.bootstrap import SCHEMA

# It waits for transactions that are older than itself, while others read and write: patience costs nobody anything.
_PATIENCE = "10min"


def create_index_concurrently(name: str, on: str, *, unique: bool = False) -> None:
    """Create the index `name` on e.g. "account (tenant_id, login_email)", unless it is there and valid.

    Give it a revision of its own: it ends the transaction of the migration, so whatever stands before it is committed,
    and runs again if the index fails.
    """
    context = op.get_context()
    create = f"create {'unique ' if unique else ''}index concurrently if not exists {name} on {SCHEMA}.{on}"
    with context.autocommit_block():
        if context.as_sql:
            _patiently([f"drop index concurrently if exists {SCHEMA}.{name}", create], "'3s'")
            return
        connection = op.get_bind()
        before = connection.execute(text("select current_setting('lock_timeout')")).scalar_one()
        half = connection.execute(
            text(
                "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indexrelid"
                " where c.relname = :name and c.relnamespace = cast(:schema as regnamespace) and not i.indisvalid"
            ),
            {"name": name, "schema": SCHEMA},
        ).first()
        drop = [f"drop index concurrently {SCHEMA}.{name}"] if half is not None else []
        _patiently([*drop, create], f"'{before}'")


def _patiently(statements: list[str], lock_timeout_before: str) -> None:
    op.execute(f"set lock_timeout = '{_PATIENCE}'")
    for statement in statements:
        op.execute(statement)
    op.execute(f"set lock_timeout = {lock_timeout_before}")
