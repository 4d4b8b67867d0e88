-- The living session of a cookie with its user and the consent for the client at hand. last_seen_at is written at most
-- once a minute, so that reading pages does not write rows.
create or replace function tegata.find_session(
    p_tenant uuid, p_digest bytea, p_client_id text, p_idle_seconds integer, p_now double precision)
  returns table (
    session_id uuid, user_id uuid, auth_time bigint, amr text[], acr text, created_at double precision,
    last_seen_at double precision, expires_at double precision,
    user_username text, user_claims jsonb, user_roles text[], user_disabled boolean,
    user_updated_at double precision,
    consent_scopes text[], consent_claims text[], consent_resources text[],
    consent_granted_at double precision)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := pg_catalog.to_timestamp(p_now);
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  return query select
      s.session_id, s.user_id, extract(epoch from s.auth_time)::bigint, s.amr, s.acr,
      extract(epoch from s.created_at)::double precision, extract(epoch from s.last_seen_at)::double precision,
      extract(epoch from s.expires_at)::double precision,
      a.username, a.claims, a.roles, a.disabled,
      extract(epoch from a.updated_at)::double precision,
      c.scopes, c.claims, c.resources, extract(epoch from c.granted_at)::double precision
    from tegata.session s
      join tegata.account a on a.tenant_id = p_tenant and a.user_id = s.user_id and not a.disabled
      left join tegata.consent c
        on c.tenant_id = p_tenant and c.user_id = s.user_id and c.client_id = p_client_id
    where s.tenant_id = p_tenant and s.digest = p_digest and s.expires_at > moment
      and s.last_seen_at > moment - pg_catalog.make_interval(secs => p_idle_seconds);
  if found then
    update tegata.session s set last_seen_at = moment
      where s.tenant_id = p_tenant and s.digest = p_digest and s.last_seen_at <= moment - interval '60 seconds';
  end if;
end $$;
