-- A refresh token as introspection sees it: active if it is current, or the parent of the current one within its grace.
create or replace function tegata.find_refresh_token(
    p_tenant uuid, p_digest bytea, p_grace_seconds integer, p_now double precision)
  returns table (
    active boolean, issued_at bigint, expires_at bigint, username text,
    grant_id uuid, client_id text, user_id uuid, session_id uuid, scopes text[],
    resources text[], claims jsonb, auth_time bigint, amr text[], acr text, nonce text, offline boolean,
    created_at double precision)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := pg_catalog.to_timestamp(p_now);
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  return query select
      t.expires_at > moment and g.revoked_at is null and not a.disabled
        and (t.generation = g.generation
             or t.generation = g.generation - 1
                and moment <= g.rotated_at + pg_catalog.make_interval(secs => p_grace_seconds)),
      extract(epoch from t.issued_at)::bigint, extract(epoch from t.expires_at)::bigint, a.username,
      g.grant_id, g.client_id, g.user_id, g.session_id, g.scopes, g.resources, g.claims,
      extract(epoch from g.auth_time)::bigint, g.amr, g.acr, g.nonce, g.offline,
      extract(epoch from g.created_at)::double precision
    from tegata.refresh_token t
      join tegata.grant_record g on g.tenant_id = p_tenant and g.grant_id = t.grant_id
      join tegata.account a on a.tenant_id = p_tenant and a.user_id = g.user_id
    where t.tenant_id = p_tenant and t.digest = p_digest;
end $$;
