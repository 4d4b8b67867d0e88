"""${message}"""

from __future__ import annotations

from alembic import op

from tegata.postgres.migrations.tenant_table import create_tenant_table

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
