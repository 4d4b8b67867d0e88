-- A living interaction; looking does not consume it.
create or replace function tegata.find_interaction(p_tenant uuid, p_digest bytea, p_now double precision)
  returns table (client_id text, parameters jsonb, created_at double precision, expires_at double precision)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  return query select i.client_id, i.parameters, extract(epoch from i.created_at)::double precision,
      extract(epoch from i.expires_at)::double precision
    from tegata.interaction i
    where i.tenant_id = p_tenant and i.digest = p_digest and i.expires_at > pg_catalog.to_timestamp(p_now);
end $$;
