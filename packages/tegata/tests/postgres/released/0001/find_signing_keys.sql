-- All signing keys of a tenant, newest first.
create or replace function tegata.find_signing_keys(p_tenant uuid)
  returns table (kid text, algorithm text, state text, public_jwk jsonb, sealed_private_key bytea,
    created_at double precision, state_changed_at double precision)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  return query select k.kid, k.algorithm, k.state, k.public_jwk, k.sealed_private_key,
      extract(epoch from k.created_at)::double precision, extract(epoch from k.state_changed_at)::double precision
    from tegata.signing_key k where k.tenant_id = p_tenant order by k.created_at desc, k.kid;
end $$;
