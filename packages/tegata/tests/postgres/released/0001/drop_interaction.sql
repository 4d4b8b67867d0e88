-- Remove an interaction; false if it was gone.
create or replace function tegata.drop_interaction(p_tenant uuid, p_digest bytea, p_events jsonb)
  returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  delete from tegata.interaction i where i.tenant_id = p_tenant and i.digest = p_digest;
  if not found then
    return false;
  end if;
  perform tegata.append_events(p_tenant, p_events);
  return true;
end $$;
