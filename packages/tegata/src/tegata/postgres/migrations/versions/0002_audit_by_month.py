"""The audit log in monthly partitions, so that retention drops a table instead of deleting rows.

Nothing is copied: the table so far becomes the first partition. What takes time (an index, a proof that no row lies
beyond the partition's end) is done beside running writers; the exchange itself reads and writes no rows. Each step may
be run again after an interruption. Meanwhile, an event dated more than a month ahead is refused.
"""

from __future__ import annotations

from alembic import op

from tegata.postgres.migrations.concurrent_index import create_index_concurrently
from tegata.postgres.migrations.tenant_table import create_tenant_table, fence, fence_statements

revision = "0002"
down_revision = "0001"

# Without a key's name it serves the old table and the new one.
WRITER = """
    create or replace function tegata.append_events(p_tenant uuid, p_events jsonb) returns void
      language plpgsql set search_path = pg_catalog, pg_temp as $$
    begin
      if p_events is null or p_events = '[]' then
        return;
      end if;
      insert into tegata.audit_event
          (tenant_id, event_id, at, type, outcome, actor, client_id, reason, address, details)
        select p_tenant, e.event_id, pg_catalog.to_timestamp(e.at), e.type, e.outcome, e.actor, e.client_id, e.reason,
               e.address, coalesce(e.details, '{}')
          from pg_catalog.jsonb_to_recordset(p_events) as e
               (event_id uuid, at double precision, type text, outcome text, actor text, client_id text, reason text,
                address text, details jsonb)
        on conflict do nothing;
    end $$
"""
COLUMNS = """
    event_id uuid not null,
    at timestamptz not null,
    type text not null,
    outcome text not null constraint audit_event_outcome_check check (outcome in ('success', 'failure')),
    actor text,
    client_id text,
    reason text,
    address text,
    details jsonb not null default '{}'
"""


def upgrade() -> None:
    op.execute(WRITER)
    end_of_the_table()
    with op.get_context().autocommit_block():
        what_lies_beyond_it()
    create_index_concurrently("audit_event_by_time", "audit_event (tenant_id, at, event_id)", unique=True)
    with op.get_context().autocommit_block():
        op.execute("alter table tegata.audit_event validate constraint audit_event_early_end")
    exchange()
    functions()
    op.execute("select tegata.add_audit_partition(now(), 3) from generate_series(1, 3)")


def end_of_the_table() -> None:
    """Let the old table end at the first of a month, at least one month from now. Holds for new rows at once."""
    op.execute("""
        do $$
        begin
          if not exists (select from pg_constraint where conname = 'audit_event_early_end') then
            perform set_config('timezone', 'UTC', true);
            execute format('alter table tegata.audit_event add constraint audit_event_early_end check (at < %L) '
                           'not valid', date_trunc('month', now()) + interval '2 months');
          end if;
        end $$
    """)


def what_lies_beyond_it() -> None:
    """Set events of a clock that was far ahead aside, in what will be the partition for whatever has no month."""
    op.execute(
        "create table if not exists tegata.audit_event_other"
        " (like tegata.audit_event including defaults including constraints)"
    )
    op.execute("alter table tegata.audit_event_other drop constraint if exists audit_event_early_end")
    op.execute("alter table tegata.audit_event_other enable row level security")
    op.execute("""
        do $$
        declare
          finish timestamptz := substring(pg_get_constraintdef(oid) from '''([^'']+)''')
            from pg_constraint where conname = 'audit_event_early_end';
        begin
          with beyond as (delete from tegata.audit_event where at >= finish returning *)
            insert into tegata.audit_event_other select * from beyond;
        end $$
    """)


def exchange() -> None:
    """Put the partitioned table in the place of the old one, which becomes its first partition."""
    for statement in (
        "alter table tegata.audit_event rename to audit_event_early",
        "alter table tegata.audit_event_early drop constraint audit_event_pkey",
        "alter table tegata.audit_event_early"
        " add constraint audit_event_early_pkey primary key using index audit_event_by_time",
        "alter index tegata.audit_event_age rename to audit_event_early_age",
        "revoke all on tegata.audit_event_early from tegata_app, tegata_maint",
    ):
        op.execute(statement)
    # Nobody may delete: what was written to delete from one table by the place of its rows would, among partitions,
    # meet rows of the same place elsewhere. The release before this one does that; it gets an error instead.
    create_tenant_table(
        "audit_event",
        COLUMNS,
        key=["at", "event_id"],
        application="select, insert",
        maintenance="select, insert",
        storage="partition by range (at)",
    )
    op.execute("""
        do $$
        declare
          finish timestamptz := substring(pg_get_constraintdef(oid) from '''([^'']+)''')
            from pg_constraint where conname = 'audit_event_early_end';
        begin
          execute format('alter table tegata.audit_event attach partition tegata.audit_event_early '
                         'for values from (minvalue) to (%L)', finish);
        end $$
    """)
    op.execute("alter table tegata.audit_event_early drop constraint audit_event_early_end")
    fence("audit_event_other", application="", maintenance="")
    op.execute("alter table tegata.audit_event attach partition tegata.audit_event_other default")


def functions() -> None:
    """Make what maintenance may do to the log: look which months there are, add one, drop one that is over."""
    op.execute(r"""
        create function tegata.audit_partitions() returns table (name text, starts timestamptz, ends timestamptz)
          language sql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' as $$
          select c.relname::text,
                 coalesce(substring(b.shown from 'FROM \(''([^'']+)''\)')::timestamptz, '-infinity'),
                 substring(b.shown from 'TO \(''([^'']+)''\)')::timestamptz
            from pg_inherits i join pg_class c on c.oid = i.inhrelid
           cross join lateral (select pg_get_expr(c.relpartbound, c.oid) as shown) b
           where i.inhparent = 'tegata.audit_event'::regclass and b.shown <> 'DEFAULT'
        $$
    """)
    op.execute("""
        create function tegata.count_audit_events_without_month(p_most integer) returns bigint
          language sql stable security definer set search_path = pg_catalog, pg_temp as $$
          select count(*) from (select from tegata.audit_event_other limit p_most) o
        $$
    """)
    op.execute(ADD.replace("<fence>", FENCE))
    op.execute(DROP)
    op.execute(PURGE)
    for signature in (
        "audit_partitions()",
        "count_audit_events_without_month(integer)",
        "add_audit_partition(timestamptz, integer)",
        "drop_audit_partition(timestamptz)",
        "purge_audit_rows(timestamptz, integer)",
    ):
        op.execute(f"revoke all on function tegata.{signature} from public")
        op.execute(f"grant execute on function tegata.{signature} to tegata_maint")


FENCE = "\n      ".join(f"execute format($f${statement}$f$, part);" for statement in fence_statements("tegata.%1$I"))
# One month in one transaction. The new table is fenced before it is attached, and attaching locks neither the log
# against writers nor another month. Rows that wait for it under `audit_event_other` are moved before that table is
# locked, and those that came meanwhile after it. The month that runs is never made: an event on its way to
# `audit_event_other` would be refused at the moment when that stops being its place. It is made when it is over.
ADD = """
    create function tegata.add_audit_partition(p_from timestamptz, p_months integer) returns text
      language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO'
      set lock_timeout = '300ms' as $$
    declare
      first timestamptz := date_trunc('month', p_from);
      month timestamptz;
      part text;
    begin
      if first is null or not isfinite(first) or p_months is null or p_months not between 0 and 24 then
        raise exception 'add_audit_partition: a time and 0 to 24 months' using errcode = '22023';
      end if;
      perform pg_advisory_xact_lock(x'74670004'::bigint);
      select m.starts into month from (
          select first + make_interval(months => n) from generate_series(1, p_months) n
          union
          select date_trunc('month', o.at) from tegata.audit_event_other o
            where o.at >= first - interval '24 months' and o.at < date_trunc('month', p_from - interval '1 day')
        ) m (starts)
        where not exists (select from tegata.audit_partitions() p where p.starts <= m.starts and m.starts < p.ends)
        order by 1 limit 1;
      if month is null then
        return null;
      end if;
      part := to_char(month, '"audit_event_"YYYY_MM');
      execute format('create table tegata.%I (like tegata.audit_event including defaults including constraints, '
                     'primary key (tenant_id, at, event_id))', part);
      <fence>
      for step in 1 .. 2 loop
        if step = 2 then
          lock table tegata.audit_event_other in access exclusive mode;
        end if;
        execute format('with moved as (delete from tegata.audit_event_other where at >= $1 and at < $2 returning *) '
                       'insert into tegata.%I select * from moved', part)
          using month, month + interval '1 month';
      end loop;
      execute format('alter table tegata.audit_event attach partition tegata.%I for values from (%L) to (%L)',
                     part, month, month + interval '1 month');
      return part;
    end $$
"""
# Dropping locks the whole log, so it gives up early rather than hold writers up; the caller tries again.
DROP = """
    create function tegata.drop_audit_partition(p_before timestamptz) returns bigint
      language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO'
      set lock_timeout = '300ms' as $$
    declare
      part text;
      held bigint;
    begin
      perform pg_advisory_xact_lock(x'74670004'::bigint);
      select p.name into part from tegata.audit_partitions() p where p.ends <= p_before order by p.ends limit 1;
      if part is null then
        return null;
      end if;
      execute format('select count(*) from tegata.%I', part) into held;
      execute format('drop table tegata.%I', part);
      return held;
    end $$
"""
# The two partitions that are no single month lose rows instead, of whole months as well.
PURGE = """
    create function tegata.purge_audit_rows(p_before timestamptz, p_limit integer) returns bigint
      language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO'
      set lock_timeout = '300ms' as $$
    declare
      part text;
      gone bigint;
      total bigint := 0;
    begin
      if p_limit is null or p_limit not between 1 and 100000 then
        raise exception 'purge_audit_rows: 1 to 100000 rows' using errcode = '22023';
      end if;
      foreach part in array array['audit_event_early', 'audit_event_other'] loop
        if to_regclass('tegata.' || part) is not null then
          execute format('delete from tegata.%1$I where ctid = any (array(select ctid from tegata.%1$I '
                         'where at < $1 limit $2 for update skip locked))', part)
            using date_trunc('month', p_before), p_limit - total;
          get diagnostics gone = row_count;
          total := total + gone;
        end if;
      end loop;
      return total;
    end $$
"""
