"""The one operation that makes a table of tenants' rows, so that none can be made without its wall.

Each rule is checked by the doctor on the finished table (`tegata.postgres.doctor`).
"""

from __future__ import annotations

from collections.abc import Sequence

from alembic import op

from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, OWNER, SCHEMA

# The sub-select is evaluated once for a statement; a bare call would be evaluated for each row.
CONDITION = f"tenant_id = (select {SCHEMA}.current_tenant())"


def create_tenant_table(
    name: str,
    columns: str,
    *,
    key: Sequence[str],
    references: Sequence[str] = (),
    application: str = "select, insert, update, delete",
    maintenance: str = "select, insert, update, delete",
    storage: str = "",
) -> None:
    """Create `tegata.<name>` with `tenant_id` first in its primary key, and fence it.

    columns: SQL column definitions without `tenant_id`. key: the rest of the primary key. references: clauses such as
    "(client_id) client" for a composite foreign key with cascade. application, maintenance: what these roles may do.
    storage: clause such as "with (fillfactor = 80)" or "partition by range (at)".
    """
    lines = [
        f"tenant_id uuid not null references {SCHEMA}.tenant (tenant_id)",
        columns.strip().rstrip(","),
        f"primary key (tenant_id, {', '.join(key)})",
        *(_foreign_key(clause) for clause in references),
    ]
    op.execute(f"create table {SCHEMA}.{name} (\n  " + ",\n  ".join(lines) + f"\n) {storage}".rstrip())
    fence(name, application=application, maintenance=maintenance)


def fence(
    name: str, *, application: str, maintenance: str = "select, insert, update, delete", writes: bool = True
) -> None:
    """Put a table, or a partition of one, behind row-level security and give the rights it is meant to have."""
    table = f"{SCHEMA}.{name}"
    for statement in fence_statements(table, writes=writes):
        op.execute(statement)
    for role, rights in ((MAINTENANCE, maintenance), (APPLICATION, application)):
        if rights:
            op.execute(f"grant {rights} on {table} to {role}")


def fence_statements(table: str, *, writes: bool = True) -> list[str]:
    """Return what fences a table, without the rights on it. A partition gets all of it and no right whatever.

    Row-level security of the parent does not reach a partition that is named directly. Permissive policies are ORed, so
    one careless `using (true)` later would open the table; the restrictive one keeps it shut. `maint_all` is explicit
    because an owner under FORCE, without it, changes no row and gets no error.
    """
    command = "all" if writes else "select"
    check = f" with check ({CONDITION})" if writes else ""
    return [
        f"alter table {table} enable row level security",
        f"alter table {table} force row level security",
        f"create policy tenant_allow on {table} as permissive for {command} to {APPLICATION}"
        f" using ({CONDITION}){check}",
        f"create policy tenant_iso on {table} as restrictive for all to {APPLICATION} using ({CONDITION})"
        f" with check ({CONDITION})",
        f"create policy maint_all on {table} for all to {MAINTENANCE}, {OWNER} using (true) with check (true)",
    ]


def _foreign_key(clause: str) -> str:
    """Turn "(user_id) account" into a composite key: one on the id alone would reach across tenants."""
    columns, _, other = clause.partition(") ")
    key = f"(tenant_id, {columns[1:]})"
    return f"foreign key {key} references {SCHEMA}.{other} {key} on delete cascade"
