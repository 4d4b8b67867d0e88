-- Add to what a user has allowed a client.
create or replace function tegata.store_consent(
    p_tenant uuid, p_user_id uuid, p_client_id text, p_scopes text[], p_claims text[], p_resources text[],
    p_granted_at double precision, p_events jsonb)
  returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  insert into tegata.consent as c (tenant_id, user_id, client_id, scopes, claims, resources, granted_at)
    values (p_tenant, p_user_id, p_client_id, p_scopes, p_claims, p_resources, pg_catalog.to_timestamp(p_granted_at))
    on conflict (tenant_id, user_id, client_id) do update
      set scopes = array(select pg_catalog.unnest(c.scopes) union select pg_catalog.unnest(excluded.scopes)),
          claims = array(select pg_catalog.unnest(c.claims) union select pg_catalog.unnest(excluded.claims)),
          resources = array(select pg_catalog.unnest(c.resources) union select pg_catalog.unnest(excluded.resources)),
          granted_at = excluded.granted_at;
  perform tegata.append_events(p_tenant, p_events);
end $$;
