-- End a session and revoke its grants, except offline ones. The event is written if there was anything to end.
create or replace function tegata.end_session(
    p_tenant uuid, p_session_id uuid, p_now double precision, p_event jsonb)
  returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  ended boolean;
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  delete from tegata.session s where s.tenant_id = p_tenant and s.session_id = p_session_id;
  ended := found;
  update tegata.grant_record r set revoked_at = pg_catalog.to_timestamp(p_now)
    where r.tenant_id = p_tenant and r.session_id = p_session_id and not r.offline and r.revoked_at is null;
  ended := ended or found;
  if ended then
    perform tegata.append_events(p_tenant, p_event);
  end if;
  return ended;
end $$;
