"""The tables of the job queue (procrastinate), in a schema of their own that maintenance alone may use.

The text is the library's own, so it is not repeated here; which one was installed stands in the schema's comment, and
the test of `tegata.postgres.jobs_schema` fails when the library brings another one. Then a new revision applies the
library's migrations since.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

from tegata.postgres.bootstrap import MAINTENANCE
from tegata.postgres.jobs_schema import JOBS_SCHEMA, library_schema

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # The owner may not make schemas; whoever set the database up before this release has to do that once more.
    op.execute(f"""
        do $$
        begin
          if to_regnamespace('{JOBS_SCHEMA}') is null then
            raise insufficient_privilege using message =
              'there is no schema {JOBS_SCHEMA}: let an administrator run the bootstrap once more';
          end if;
        end $$
    """)
    op.execute(f"set local search_path = {JOBS_SCHEMA}")
    # One text of many statements; a colon before a name would be taken for a parameter.
    op.execute(text(library_schema().text.replace(":", "\\:")))
    op.execute("set local search_path = pg_catalog, pg_temp")
    for statement in (
        f"revoke all on schema {JOBS_SCHEMA} from public",
        f"revoke all on all functions in schema {JOBS_SCHEMA} from public",
        f"grant usage on schema {JOBS_SCHEMA} to {MAINTENANCE}",
        f"grant select, insert, update, delete on all tables in schema {JOBS_SCHEMA} to {MAINTENANCE}",
        f"grant usage on all sequences in schema {JOBS_SCHEMA} to {MAINTENANCE}",
        f"grant execute on all functions in schema {JOBS_SCHEMA} to {MAINTENANCE}",
        f"comment on schema {JOBS_SCHEMA} is '{library_schema().comment}'",
    ):
        op.execute(statement)
