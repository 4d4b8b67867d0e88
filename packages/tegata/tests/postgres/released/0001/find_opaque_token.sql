-- An opaque access token with the state of its grant and its user; no row if the digest is unknown.
create or replace function tegata.find_opaque_token(p_tenant uuid, p_digest bytea, p_now double precision)
  returns table (
    active boolean, token_id text, token_client_id text, token_grant_id uuid, token_user_id uuid, subject text,
    token_scopes text[], audience text[], token_claims jsonb, issued_at bigint, expires_at bigint,
    grant_id uuid, client_id text, user_id uuid, session_id uuid, scopes text[],
    resources text[], claims jsonb, auth_time bigint, amr text[], acr text, nonce text, offline boolean,
    created_at double precision,
    user_username text, user_claims jsonb, user_roles text[], user_disabled boolean,
    user_updated_at double precision)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  return query select
      o.expires_at > pg_catalog.to_timestamp(p_now) and g.revoked_at is null and not coalesce(a.disabled, false),
      o.token_id, o.client_id, o.grant_id, o.user_id, o.subject, o.scopes, o.audience, o.claims,
      extract(epoch from o.issued_at)::bigint, extract(epoch from o.expires_at)::bigint,
      g.grant_id, g.client_id, g.user_id, g.session_id, g.scopes, g.resources, g.claims,
      extract(epoch from g.auth_time)::bigint, g.amr, g.acr, g.nonce, g.offline,
      extract(epoch from g.created_at)::double precision,
      a.username, a.claims, a.roles, a.disabled,
      extract(epoch from a.updated_at)::double precision
    from tegata.opaque_token o
      left join tegata.grant_record g on g.tenant_id = p_tenant and g.grant_id = o.grant_id
      left join tegata.account a on a.tenant_id = p_tenant and a.user_id = o.user_id
    where o.tenant_id = p_tenant and o.digest = p_digest;
end $$;
