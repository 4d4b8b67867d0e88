-- Keep an authorization request that waits for pages.
create or replace function tegata.store_interaction(
    p_tenant uuid, p_digest bytea, p_client_id text, p_parameters jsonb, p_created_at double precision,
    p_expires_at double precision)
  returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  insert into tegata.interaction (tenant_id, digest, client_id, parameters, created_at, expires_at)
    values (p_tenant, p_digest, p_client_id, p_parameters, pg_catalog.to_timestamp(p_created_at),
            pg_catalog.to_timestamp(p_expires_at));
end $$;
