-- Revoke a grant and with it every token issued from it. Says whether it was alive.
create or replace function tegata.revoke_grant(
    p_tenant uuid, p_grant_id uuid, p_now double precision, p_event jsonb)
  returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  update tegata.grant_record r set revoked_at = pg_catalog.to_timestamp(p_now)
    where r.tenant_id = p_tenant and r.grant_id = p_grant_id and r.revoked_at is null;
  if not found then
    return false;
  end if;
  perform tegata.append_events(p_tenant, p_event);
  return true;
end $$;
