-- True for exactly one of any number of calls with the same digest.
create or replace function tegata.take_assertion_id(
    p_tenant uuid, p_digest bytea, p_expires_at double precision)
  returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  insert into tegata.assertion (tenant_id, digest, expires_at)
    values (p_tenant, p_digest, pg_catalog.to_timestamp(p_expires_at)) on conflict do nothing;
  return found;
end $$;
