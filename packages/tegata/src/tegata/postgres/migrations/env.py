"""Alembic's entry point. The connection comes from `tegata.postgres.migrate`, which holds the lock and the role."""

from __future__ import annotations

from alembic import context

from tegata.postgres.bootstrap import SCHEMA

if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        # Otherwise % would be printed twice, for a driver that is not there.
        dialect_opts={"paramstyle": "named"},
        version_table="schema_version",
        version_table_schema=SCHEMA,
        transaction_per_migration=True,
    )
else:
    context.configure(
        connection=context.config.attributes["connection"],
        version_table="schema_version",
        version_table_schema=SCHEMA,
        transaction_per_migration=True,
    )

with context.begin_transaction():
    context.run_migrations()
