-- Remember that the JWT access token with this id is revoked, until it would have ended.
create or replace function tegata.revoke_token_id(
    p_tenant uuid, p_token_id text, p_expires_at double precision, p_event jsonb)
  returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  insert into tegata.revoked_token (tenant_id, token_id, expires_at)
    values (p_tenant, p_token_id, pg_catalog.to_timestamp(p_expires_at)) on conflict do nothing;
  if not found then
    return false;
  end if;
  perform tegata.append_events(p_tenant, p_event);
  return true;
end $$;
