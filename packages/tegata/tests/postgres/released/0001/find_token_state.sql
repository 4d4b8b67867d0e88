-- The state behind a JWT access token: revoked by its id, or with its grant, or its user disabled.
create or replace function tegata.find_token_state(p_tenant uuid, p_token_id text, p_grant_id uuid)
  returns table (
    active boolean,
    grant_id uuid, client_id text, user_id uuid, session_id uuid, scopes text[],
    resources text[], claims jsonb, auth_time bigint, amr text[], acr text, nonce text, offline boolean,
    created_at double precision,
    user_username text, user_claims jsonb, user_roles text[], user_disabled boolean,
    user_updated_at double precision)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  revoked boolean;
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  revoked := exists (
    select from tegata.revoked_token t where t.tenant_id = p_tenant and t.token_id = p_token_id);
  if p_grant_id is null then
    active := not revoked; return next; return;
  end if;
  return query select
      not revoked and g.revoked_at is null and not a.disabled,
      g.grant_id, g.client_id, g.user_id, g.session_id, g.scopes, g.resources, g.claims,
      extract(epoch from g.auth_time)::bigint, g.amr, g.acr, g.nonce, g.offline,
      extract(epoch from g.created_at)::double precision,
      a.username, a.claims, a.roles, a.disabled,
      extract(epoch from a.updated_at)::double precision
    from tegata.grant_record g
      join tegata.account a on a.tenant_id = p_tenant and a.user_id = g.user_id
    where g.tenant_id = p_tenant and g.grant_id = p_grant_id;
  if not found then
    active := false; return next;
  end if;
end $$;
