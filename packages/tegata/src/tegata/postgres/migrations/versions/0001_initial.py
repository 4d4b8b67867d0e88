"""The schema of the first release."""

from __future__ import annotations

from alembic import op

from tegata.postgres.migrations.tenant_table import create_tenant_table, fence

revision = "0001"
down_revision = None

READ = "select"
READ_WRITE = "select, insert, update, delete"


def upgrade() -> None:
    op.execute("grant select on tegata.schema_version to tegata_app, tegata_maint")
    context()
    tenants()
    clients_and_keys()
    people()
    grants_and_tokens()
    short_lived()
    audit()
    notifications()


def context() -> None:
    op.execute("""
        create function tegata.current_tenant() returns uuid
          language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
        declare wanted text := pg_catalog.current_setting('app.tenant_id', true);
        begin
          -- A finished transaction that set it leaves '' behind, not null.
          if wanted is null or wanted = '' then
            raise exception 'tenant context missing' using errcode = 'TG001';
          end if;
          return wanted::pg_catalog.uuid;
        end $$
    """)
    op.execute("revoke all on function tegata.current_tenant() from public")
    op.execute("grant execute on function tegata.current_tenant() to tegata_app, tegata_maint")


def tenants() -> None:
    op.execute("""
        create table tegata.tenant (
          tenant_id uuid primary key,
          name text collate "C" not null,
          policy jsonb not null,
          pairwise_salt bytea not null,
          created_at timestamptz not null default now()
        )
    """)
    fence("tenant", application=READ, writes=False)
    # Names are unique here and not in `tenant`: the application has no right on this table whatever, it asks
    # find_tenant() for an exact name. Its row-level security lets the owner and maintenance in, nobody else.
    op.execute("""
        create table tegata.tenant_directory (
          name text collate "C" primary key,
          tenant_id uuid not null unique references tegata.tenant (tenant_id)
        )
    """)
    op.execute("alter table tegata.tenant_directory enable row level security")
    op.execute("alter table tegata.tenant_directory force row level security")
    op.execute(
        "create policy maint_all on tegata.tenant_directory for all to tegata_maint, tegata_owner"
        " using (true) with check (true)"
    )
    op.execute("grant select, insert, update, delete on tegata.tenant_directory to tegata_maint")


def clients_and_keys() -> None:
    create_tenant_table(
        "client",
        """
        client_id text collate "C" not null,
        metadata jsonb not null,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
        """,
        key=["client_id"],
        application=READ,
    )
    create_tenant_table(
        "client_secret",
        """
        client_id text collate "C" not null,
        digest bytea not null,
        expires_at timestamptz
        """,
        key=["client_id", "digest"],
        references=["(client_id) client"],
        application=READ,
    )
    create_tenant_table(
        "signing_key",
        """
        kid text collate "C" not null,
        algorithm text not null,
        state text not null check (state in ('next', 'active', 'previous')),
        public_jwk jsonb not null,
        sealed_private_key bytea not null,
        created_at timestamptz not null,
        state_changed_at timestamptz not null
        """,
        key=["kid"],
        application=READ,
    )
    op.execute("""
        create unique index signing_key_one_of_each on tegata.signing_key (tenant_id, algorithm, state)
          where state <> 'previous'
    """)


def people() -> None:
    create_tenant_table(
        "role",
        """
        name text collate "C" not null,
        description text not null default '',
        permissions text[] not null default '{}'
        """,
        key=["name"],
        application=READ,
    )
    create_tenant_table(
        "account",
        """
        user_id uuid not null,
        username text not null,
        -- Normalised by the application: lower() is not leakproof, so an index on it is useless behind a policy.
        username_norm text collate "C" not null,
        -- The normalised e-mail address if it is verified, else null.
        login_email text collate "C",
        claims jsonb not null default '{}',
        roles text[] not null default '{}',
        password_hash text,
        disabled boolean not null default false,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now(),
        unique (tenant_id, username_norm)
        """,
        key=["user_id"],
        application="select, update (password_hash)",
    )
    op.execute("create index account_login_email on tegata.account (tenant_id, login_email)")
    create_tenant_table(
        "session",
        """
        session_id uuid not null,
        digest bytea not null,
        user_id uuid not null,
        auth_time timestamptz not null,
        amr text[] not null,
        acr text not null,
        created_at timestamptz not null,
        last_seen_at timestamptz not null,
        expires_at timestamptz not null,
        unique (tenant_id, digest)
        """,
        key=["session_id"],
        references=["(user_id) account"],
        application=READ_WRITE,
        storage="with (fillfactor = 80)",
    )
    op.execute("create index session_account on tegata.session (tenant_id, user_id)")
    create_tenant_table(
        "consent",
        """
        user_id uuid not null,
        client_id text collate "C" not null,
        scopes text[] not null,
        claims text[] not null,
        resources text[] not null,
        granted_at timestamptz not null
        """,
        key=["user_id", "client_id"],
        references=["(user_id) account", "(client_id) client"],
        application="select, insert, update",
    )
    op.execute("create index consent_client on tegata.consent (tenant_id, client_id)")


def grants_and_tokens() -> None:
    create_tenant_table(
        "grant_record",
        """
        grant_id uuid not null,
        client_id text collate "C" not null,
        user_id uuid not null,
        session_id uuid,
        scopes text[] not null,
        resources text[] not null,
        claims jsonb not null,
        auth_time timestamptz not null,
        amr text[] not null,
        acr text not null,
        nonce text,
        offline boolean not null,
        created_at timestamptz not null,
        revoked_at timestamptz,
        -- The latest end of anything issued from it, as far as storage knows; purging waits longer.
        expires_at timestamptz not null,
        -- The family of refresh tokens: which generation is current, when its parent was replaced, and the current
        -- token sealed under a key that only the parent yields.
        generation integer not null default 0,
        rotated_at timestamptz,
        sealed_current bytea
        """,
        key=["grant_id"],
        references=["(user_id) account", "(client_id) client"],
        application="select, insert, update",
        storage="with (fillfactor = 80)",
    )
    op.execute("create index grant_record_account on tegata.grant_record (tenant_id, user_id)")
    op.execute("create index grant_record_client on tegata.grant_record (tenant_id, client_id)")
    op.execute("create index grant_record_session on tegata.grant_record (tenant_id, session_id)")
    create_tenant_table(
        "authorization_code",
        """
        digest bytea not null,
        grant_id uuid not null,
        redirect_uri text not null,
        redirect_uri_was_sent boolean not null,
        code_challenge text,
        expires_at timestamptz not null,
        taken_at timestamptz
        """,
        key=["digest"],
        references=["(grant_id) grant_record"],
        application="select, insert, update",
        storage="with (fillfactor = 80)",
    )
    op.execute("create index authorization_code_grant on tegata.authorization_code (tenant_id, grant_id)")
    create_tenant_table(
        "refresh_token",
        """
        digest bytea not null,
        grant_id uuid not null,
        generation integer not null,
        issued_at timestamptz not null,
        expires_at timestamptz not null
        """,
        key=["digest"],
        references=["(grant_id) grant_record"],
        application="select, insert",
    )
    op.execute("create index refresh_token_grant on tegata.refresh_token (tenant_id, grant_id)")
    create_tenant_table(
        "opaque_token",
        """
        digest bytea not null,
        token_id text not null,
        client_id text collate "C" not null,
        grant_id uuid,
        user_id uuid,
        subject text not null,
        scopes text[] not null,
        audience text[] not null,
        claims jsonb not null,
        issued_at timestamptz not null,
        expires_at timestamptz not null
        """,
        key=["digest"],
        references=["(grant_id) grant_record", "(client_id) client"],
        application="select, insert, delete",
    )
    op.execute("create index opaque_token_grant on tegata.opaque_token (tenant_id, grant_id)")
    op.execute("create index opaque_token_client on tegata.opaque_token (tenant_id, client_id)")
    create_tenant_table(
        "revoked_token",
        """
        token_id text collate "C" not null,
        expires_at timestamptz not null
        """,
        key=["token_id"],
        application="select, insert",
    )


def short_lived() -> None:
    create_tenant_table(
        "interaction",
        """
        digest bytea not null,
        client_id text collate "C" not null,
        parameters jsonb not null,
        created_at timestamptz not null,
        expires_at timestamptz not null
        """,
        key=["digest"],
        references=["(client_id) client"],
        application="select, insert, delete",
    )
    op.execute("create index interaction_client on tegata.interaction (tenant_id, client_id)")
    create_tenant_table(
        "assertion",
        """
        -- SHA-256 over client and jti, because a jti may be longer than an index entry.
        digest bytea not null,
        expires_at timestamptz not null
        """,
        key=["digest"],
        application="select, insert",
    )
    create_tenant_table(
        "throttle",
        """
        key bytea not null,
        failures integer not null,
        last_failure_at timestamptz not null,
        -- For an attempt that turns out to be none and is taken back.
        failure_before_at timestamptz
        """,
        key=["key"],
        application=READ_WRITE,
        storage="with (fillfactor = 50)",
    )
    # Purging runs over all tenants. BRIN because rows arrive nearly in the order in which they end, and because it
    # costs an insert next to nothing.
    for table in (
        "session",
        "authorization_code",
        "refresh_token",
        "opaque_token",
        "revoked_token",
        "interaction",
        "assertion",
    ):
        op.execute(f"create index {table}_end on tegata.{table} using brin (expires_at)")
    # Not on expires_at: each rotation moves it, and before PostgreSQL 16 that would cost the heap-only update.
    op.execute("create index grant_record_age on tegata.grant_record using brin (created_at)")


def audit() -> None:
    create_tenant_table(
        "audit_event",
        """
        event_id uuid not null,
        at timestamptz not null,
        type text not null,
        outcome text not null check (outcome in ('success', 'failure')),
        actor text,
        client_id text,
        reason text,
        address text,
        details jsonb not null default '{}'
        """,
        key=["event_id"],
        application="select, insert",
    )
    op.execute("create index audit_event_age on tegata.audit_event using brin (at)")


def notifications() -> None:
    op.execute("""
        create function tegata.notify_change() returns trigger
          language plpgsql set search_path = pg_catalog, pg_temp as $$
        declare
          changed jsonb := pg_catalog.to_jsonb(case when tg_op = 'DELETE' then old else new end);
        begin
          perform pg_catalog.pg_notify('tegata_changed', pg_catalog.jsonb_build_object(
            'tenant', changed ->> 'tenant_id', 'kind', tg_argv[0], 'key', changed ->> tg_argv[1])::text);
          return null;
        end $$
    """)
    op.execute("revoke all on function tegata.notify_change() from public")
    for table, kind, key in (
        ("tenant", "tenant", "name"),
        ("client", "client", "client_id"),
        ("client_secret", "client", "client_id"),
        ("signing_key", "signing_key", "kid"),
    ):
        op.execute(f"""
            create trigger notify_change after insert or update or delete on tegata.{table}
              for each row execute function tegata.notify_change('{kind}', '{key}')
        """)
