-- Keep a new session. The one it replaces in this browser ends if it is another user's; if it is the same user's, its
-- grants move to the new session.
create or replace function tegata.start_session(
    p_tenant uuid, p_digest bytea, p_session_id uuid, p_user_id uuid, p_auth_time double precision, p_amr text[],
    p_acr text, p_created_at double precision, p_last_seen_at double precision, p_expires_at double precision,
    p_replaces bytea, p_events jsonb)
  returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  replaced record;
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  insert into tegata.session
      (tenant_id, session_id, digest, user_id, auth_time, amr, acr, created_at, last_seen_at, expires_at)
    values (p_tenant, p_session_id, p_digest, p_user_id, pg_catalog.to_timestamp(p_auth_time), p_amr, p_acr,
       pg_catalog.to_timestamp(p_created_at), pg_catalog.to_timestamp(p_last_seen_at),
       pg_catalog.to_timestamp(p_expires_at));
  delete from tegata.session s where s.tenant_id = p_tenant and s.digest = p_replaces
    returning s.session_id, s.user_id into replaced;
  if found and replaced.user_id = p_user_id then
    update tegata.grant_record r set session_id = p_session_id
      where r.tenant_id = p_tenant and r.session_id = replaced.session_id;
  elsif found then
    update tegata.grant_record r set revoked_at = pg_catalog.to_timestamp(p_created_at)
      where r.tenant_id = p_tenant and r.session_id = replaced.session_id and not r.offline and r.revoked_at is null;
  end if;
  perform tegata.append_events(p_tenant, p_events);
end $$;
