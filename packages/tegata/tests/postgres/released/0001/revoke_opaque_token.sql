-- Revoke one opaque access token if it belongs to the client.
create or replace function tegata.revoke_opaque_token(
    p_tenant uuid, p_digest bytea, p_client_id text, p_event jsonb)
  returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  delete from tegata.opaque_token o
    where o.tenant_id = p_tenant and o.digest = p_digest and o.client_id = p_client_id;
  if not found then
    return false;
  end if;
  perform tegata.append_events(p_tenant, p_event);
  return true;
end $$;
