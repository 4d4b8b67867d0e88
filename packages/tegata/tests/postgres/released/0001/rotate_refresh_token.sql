-- Rotate a refresh token under one row lock on its grant. Whoever waited for the lock reads the grant again, so that
-- of many concurrent calls one rotates and the others find their token to be the parent of the current one.
create or replace function tegata.rotate_refresh_token(
    p_tenant uuid, p_presented bytea, p_client_id text, p_successor bytea, p_successor_expires_at double precision,
    p_sealed_successor bytea, p_scopes text[], p_resources text[], p_grace_seconds integer, p_now double precision,
    p_issued_event jsonb, p_reuse_event jsonb)
  returns table (
    outcome text, sealed_successor bytea,
    grant_id uuid, client_id text, user_id uuid, session_id uuid, scopes text[],
    resources text[], claims jsonb, auth_time bigint, amr text[], acr text, nonce text, offline boolean,
    created_at double precision,
    user_username text, user_claims jsonb, user_roles text[], user_disabled boolean,
    user_updated_at double precision)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := pg_catalog.to_timestamp(p_now);
  presented tegata.refresh_token;
  g tegata.grant_record;
  a tegata.account;
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  -- Rows of refresh tokens are never updated: what changes is the grant.
  select * into presented from tegata.refresh_token t where t.tenant_id = p_tenant and t.digest = p_presented;
  if not found then
    outcome := 'unknown'; return next; return;
  end if;
  select * into g from tegata.grant_record r
    where r.tenant_id = p_tenant and r.grant_id = presented.grant_id for update;
  if not found then
    outcome := 'unknown'; return next; return;
  end if;
  if g.client_id <> p_client_id then
    outcome := 'wrong_client'; return next; return;
  end if;
  if g.revoked_at is not null then
    outcome := 'revoked'; return next; return;
  end if;
  if presented.expires_at <= moment then
    outcome := 'expired'; return next; return;
  end if;
  select * into a from tegata.account u where u.tenant_id = p_tenant and u.user_id = g.user_id;
  if a.disabled then
    outcome := 'user_disabled'; return next; return;
  end if;
  if presented.generation = g.generation then
    outcome := 'rotated';
  elsif presented.generation = g.generation - 1
        and moment <= g.rotated_at + pg_catalog.make_interval(secs => p_grace_seconds) then
    outcome := 'repeated';
  else
    update tegata.grant_record r set revoked_at = moment where r.tenant_id = p_tenant and r.grant_id = g.grant_id;
    perform tegata.append_events(p_tenant, p_reuse_event);
    outcome := 'reused';
  end if;
  if outcome <> 'reused' and not coalesce(p_scopes <@ g.scopes, true) then
    outcome := 'scope'; return next; return;
  end if;
  if outcome <> 'reused' and not coalesce(p_resources <@ g.resources, true) then
    outcome := 'resource'; return next; return;
  end if;
  if outcome = 'rotated' then
    update tegata.grant_record r
      set generation = r.generation + 1, rotated_at = moment, sealed_current = p_sealed_successor,
          expires_at = greatest(r.expires_at, pg_catalog.to_timestamp(p_successor_expires_at))
      where r.tenant_id = p_tenant and r.grant_id = g.grant_id;
    insert into tegata.refresh_token (tenant_id, digest, grant_id, generation, issued_at, expires_at)
      values (p_tenant, p_successor, g.grant_id, g.generation + 1, moment,
              pg_catalog.to_timestamp(p_successor_expires_at));
  elsif outcome = 'repeated' then
    sealed_successor := g.sealed_current;
  end if;
  if outcome <> 'reused' then
    perform tegata.append_events(p_tenant, p_issued_event);
  end if;
  return query select outcome, sealed_successor,
      g.grant_id, g.client_id, g.user_id, g.session_id, g.scopes, g.resources, g.claims,
      extract(epoch from g.auth_time)::bigint, g.amr, g.acr, g.nonce, g.offline,
      extract(epoch from g.created_at)::double precision,
      a.username, a.claims, a.roles, a.disabled,
      extract(epoch from a.updated_at)::double precision;
end $$;
