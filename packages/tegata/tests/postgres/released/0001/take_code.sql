-- Take a code: the update lets one of any number of concurrent calls through. A second take by the same client
-- revokes everything that the first one issued (RFC 6749 section 4.1.2, RFC 9700 section 4.5).
create or replace function tegata.take_code(
    p_tenant uuid, p_digest bytea, p_client_id text, p_now double precision, p_replay_event jsonb)
  returns table (
    outcome text, redirect_uri text, redirect_uri_was_sent boolean, code_challenge text, expires_at double precision,
    grant_id uuid, client_id text, user_id uuid, session_id uuid, scopes text[],
    resources text[], claims jsonb, auth_time bigint, amr text[], acr text, nonce text, offline boolean,
    created_at double precision,
    user_username text, user_claims jsonb, user_roles text[], user_disabled boolean,
    user_updated_at double precision)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := pg_catalog.to_timestamp(p_now);
  found_code tegata.authorization_code;
  g tegata.grant_record;
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  select * into found_code from tegata.authorization_code c where c.tenant_id = p_tenant and c.digest = p_digest;
  if not found then
    outcome := 'unknown'; return next; return;
  end if;
  select * into g from tegata.grant_record r where r.tenant_id = p_tenant and r.grant_id = found_code.grant_id;
  if not found then
    outcome := 'unknown'; return next; return;
  end if;
  if g.client_id <> p_client_id then
    outcome := 'wrong_client'; return next; return;
  end if;
  if found_code.taken_at is null and g.revoked_at is not null then
    outcome := 'revoked'; return next; return;
  end if;
  if found_code.taken_at is null and found_code.expires_at <= moment then
    outcome := 'expired'; return next; return;
  end if;
  update tegata.authorization_code c set taken_at = moment
    where c.tenant_id = p_tenant and c.digest = p_digest and c.taken_at is null;
  if not found then
    update tegata.grant_record r set revoked_at = coalesce(r.revoked_at, moment)
      where r.tenant_id = p_tenant and r.grant_id = found_code.grant_id;
    perform tegata.append_events(p_tenant, p_replay_event);
    outcome := 'replayed'; return next; return;
  end if;
  return query select 'taken', found_code.redirect_uri, found_code.redirect_uri_was_sent, found_code.code_challenge,
      extract(epoch from found_code.expires_at)::double precision,
      g.grant_id, g.client_id, g.user_id, g.session_id, g.scopes, g.resources, g.claims,
      extract(epoch from g.auth_time)::bigint, g.amr, g.acr, g.nonce, g.offline,
      extract(epoch from g.created_at)::double precision,
      a.username, a.claims, a.roles, a.disabled,
      extract(epoch from a.updated_at)::double precision
    from tegata.account a where a.tenant_id = p_tenant and a.user_id = g.user_id;
end $$;
