-- Write audit events within the caller's transaction; the caller has set the tenant. An event that is there already is
-- left alone: whoever lost the answer to a write has to write again.
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
    on conflict (tenant_id, event_id) do nothing;
end $$;
