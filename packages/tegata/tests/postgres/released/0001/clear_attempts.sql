-- Forget the failures of these keys.
create or replace function tegata.clear_attempts(p_tenant uuid, p_keys bytea[]) returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  delete from tegata.throttle t where t.tenant_id = p_tenant and t.key = any (p_keys);
end $$;
