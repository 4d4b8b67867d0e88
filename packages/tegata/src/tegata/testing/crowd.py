"""Many rows, made by PostgreSQL itself: one crowded tenant among a thousand small ones, for plans and for costs."""

from __future__ import annotations

from uuid import UUID

import psycopg

from tegata.postgres.target import ConnectionTarget

# Who is in the crowd: every row of every table below is one of these, and rows of one person belong together.
_CROWD = """
    create temporary table crowd as
      select tenant_id, n, md5('user' || tenant_id || n)::uuid as user_id,
             md5('grant' || tenant_id || n)::uuid as grant_id, md5('session' || tenant_id || n)::uuid as session_id,
             sha256((tenant_id::text || n)::bytea) as digest,
             now() + n * interval '1 ms' as later
        from (select %(tenant)s::uuid as tenant_id, n from generate_series(1, %(rows)s) n
              union all
              select md5('small tenant ' || s)::uuid, n
                from generate_series(1, %(small)s) s cross join generate_series(1, %(each)s) n) everybody
"""
_TENANTS = """
    insert into tegata.tenant (tenant_id, name, policy, pairwise_salt)
      select tenant_id, 'small-' || tenant_id, '{}', '' from crowd where tenant_id <> %(tenant)s group by 1;
    insert into tegata.tenant_directory (name, tenant_id) select name, tenant_id from tegata.tenant
      where name like 'small-%%';
    insert into tegata.client (tenant_id, client_id, metadata)
      select tenant_id, 'web', '{}' from crowd where tenant_id <> %(tenant)s group by 1;
    insert into tegata.client (tenant_id, client_id, metadata)
      select tenant_id, 'client-' || n, '{}' from crowd where tenant_id = %(tenant)s and n <= 10000
"""
_ROWS = {
    "account": (
        "user_id, username, username_norm, login_email",
        "user_id, 'u' || n, 'u' || n, 'u' || n || '@example.com'",
    ),
    "session": (
        "session_id, digest, user_id, auth_time, amr, acr, created_at, last_seen_at, expires_at",
        "session_id, digest, user_id, now(), '{pwd}', '', now(), now(), later",
    ),
    "consent": (
        "user_id, client_id, scopes, claims, resources, granted_at",
        "user_id, 'web', '{openid}', '{}', '{}', now()",
    ),
    "grant_record": (
        "grant_id, client_id, user_id, session_id, scopes, resources, claims, auth_time, amr, acr, offline,"
        " created_at, expires_at",
        "grant_id, 'web', user_id, session_id, '{openid}', '{}', '{}', now(),"
        " '{pwd}', '', false, later, now() + interval '1 day'",
    ),
    "authorization_code": (
        "digest, grant_id, redirect_uri, redirect_uri_was_sent, expires_at",
        "digest, grant_id, '', true, later",
    ),
    "refresh_token": (
        "digest, grant_id, generation, issued_at, expires_at",
        "digest, grant_id, 0, now(), later",
    ),
    "opaque_token": (
        "digest, token_id, client_id, grant_id, subject, scopes, audience, claims, issued_at, expires_at",
        "digest, n::text, 'web', grant_id, '', '{}', '{}', '{}', now(), later",
    ),
    "revoked_token": ("token_id, expires_at", "n::text, later"),
    "interaction": (
        "digest, client_id, parameters, created_at, expires_at",
        "digest, 'web', '{}', now(), later",
    ),
    "assertion": ("digest, expires_at", "digest, later"),
    "throttle": ("key, failures, last_failure_at", "digest, 0, now()"),
    "audit_event": (
        "event_id, at, type, outcome",
        "grant_id, later, 'crowd', 'success'",
    ),
}


def crowd(
    admin: ConnectionTarget, tenant_id: UUID, *, rows: int, small_tenants: int = 1000, rows_each: int = 20
) -> None:
    """Put `rows` rows into every table of an existing tenant that has a client "web", and make small tenants around it.

    Needs a superuser: foreign keys are not checked while the rows are made.
    """
    parameters = {"tenant": tenant_id, "rows": rows, "small": small_tenants, "each": rows_each}
    with psycopg.connect(admin.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(_CROWD, parameters)
        for statement in _TENANTS.split(";\n"):
            connection.execute(statement.encode(), parameters)
        tables = [f"tegata.{table}" for table in _ROWS]
        # Building an index once takes a third of the time of filling it row by row: until then it is not kept up.
        connection.execute(
            "update pg_index set indisready = false from pg_class i where i.oid = indexrelid and i.relkind = 'i' and"
            " (indrelid = any (%(roots)s::regclass[]) or indrelid in"
            "  (select relid from unnest(%(roots)s::regclass[]) root, pg_partition_tree(root)))",
            {"roots": tables},
        )
        for table, (columns, values) in _ROWS.items():
            connection.execute(
                f"insert into tegata.{table} (tenant_id, {columns})"  # noqa: S608 - the words above, nobody's input
                f" select tenant_id, {values} from crowd".encode()
            )
        connection.execute("set maintenance_work_mem = '256MB'")
        for table in tables:
            connection.execute(f"reindex table {table}".encode())
    analyze(admin)


def analyze(admin: ConnectionTarget) -> None:
    """Let the planner know what is in the tables, as autovacuum does a minute later."""
    with psycopg.connect(admin.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute("vacuum (analyze)")
