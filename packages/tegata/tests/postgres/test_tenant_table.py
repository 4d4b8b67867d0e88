"""The one call that makes a tenant's table leaves nothing for the doctor to find: the page's own example is run."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from tegata.postgres.doctor import as_lines, examine
from tegata.testing.clusters import Cluster, MigratedDatabase

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "add-a-table.md"


def upgrade(database: MigratedDatabase, text: str) -> None:
    """Run the text of a revision as the owner, in one transaction."""
    owner = database.owner
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(owner.psycopg_conninfo()), poolclass=NullPool
    )
    scope: dict[str, object] = {}
    exec(compile(text, "page", "exec", dont_inherit=True), scope)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        with context.begin_transaction(), Operations.context(context):
            scope["upgrade"]()  # type: ignore[operator]  # what the text defines


@pytest.fixture
def example() -> str:
    (found,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_table_on_the_page_is_behind_the_wall(bare_cluster: Cluster, example: str) -> None:
    with bare_cluster.migrated_database() as database:
        before = examine(database.admin, application=database.app).probes
        upgrade(database, example)
        diagnosis = examine(database.admin, application=database.app)
        assert diagnosis.is_proven, as_lines(diagnosis)
        assert diagnosis.probes > before


def test_the_same_columns_without_the_call_are_found(bare_cluster: Cluster, example: str) -> None:
    """Of the page's left column, everything that was forgotten at once."""
    by_hand = """
def upgrade():
    from alembic import op
    op.execute("create table tegata.account_note (note_id serial primary key, user_id uuid not null, body text)")
    op.execute("grant select, insert on tegata.account_note to tegata_app")
    op.execute("grant usage, select on tegata.account_note_note_id_seq to tegata_app")
"""
    with bare_cluster.migrated_database() as database:
        upgrade(database, by_hand)
        found = {finding.check for finding in examine(database.admin, application=database.app).findings}
    assert {"T01", "G03"} <= found
