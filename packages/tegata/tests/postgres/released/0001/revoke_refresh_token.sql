-- Revoke the family of a refresh token if it belongs to the client (RFC 7009 section 2.1).
create or replace function tegata.revoke_refresh_token(
    p_tenant uuid, p_digest bytea, p_client_id text, p_now double precision, p_event jsonb)
  returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  owner_grant uuid;
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  select t.grant_id into owner_grant from tegata.refresh_token t
    join tegata.grant_record g on g.tenant_id = p_tenant and g.grant_id = t.grant_id
    where t.tenant_id = p_tenant and t.digest = p_digest and g.client_id = p_client_id;
  if not found then
    return false;
  end if;
  perform tegata.revoke_grant(p_tenant, owner_grant, p_now, p_event);
  return true;
end $$;
