-- Audit events of any number of tenants: [{"tenant": id, "events": [...]}, ...].
create or replace function tegata.write_events(p_batches jsonb) returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  batch jsonb;
begin
  for batch in select value from pg_catalog.jsonb_array_elements(p_batches) loop
    perform pg_catalog.set_config('app.tenant_id', batch ->> 'tenant', true);
    perform tegata.append_events((batch ->> 'tenant')::uuid, batch -> 'events');
  end loop;
end $$;
