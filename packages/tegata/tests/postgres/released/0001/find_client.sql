-- A client with its secrets.
create or replace function tegata.find_client(p_tenant uuid, p_client_id text)
  returns table (client_id text, metadata jsonb, secret_digests bytea[], secret_ends double precision[])
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  return query select c.client_id, c.metadata,
      array(select s.digest from tegata.client_secret s
        where s.tenant_id = p_tenant and s.client_id = c.client_id order by s.digest),
      array(select extract(epoch from s.expires_at)::double precision from tegata.client_secret s
        where s.tenant_id = p_tenant and s.client_id = c.client_id order by s.digest)
    from tegata.client c where c.tenant_id = p_tenant and c.client_id = p_client_id;
end $$;
