-- Keep what was issued; false, and nothing kept, if the grant has been revoked in the meantime.
create or replace function tegata.store_tokens(
    p_tenant uuid, p_grant_id uuid, p_now double precision, p_refresh_digest bytea,
    p_refresh_expires_at double precision, p_opaque jsonb, p_opaque_digest bytea, p_events jsonb)
  returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := pg_catalog.to_timestamp(p_now);
  family integer;
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  if p_grant_id is not null then
    update tegata.grant_record r
      set generation = r.generation + (p_refresh_digest is not null)::integer,
          expires_at = greatest(r.expires_at, pg_catalog.to_timestamp(p_refresh_expires_at),
                                pg_catalog.to_timestamp((p_opaque ->> 'expires_at')::double precision))
      where r.tenant_id = p_tenant and r.grant_id = p_grant_id and r.revoked_at is null
      returning r.generation into family;
    if not found then
      return false;
    end if;
  end if;
  if p_refresh_digest is not null then
    insert into tegata.refresh_token (tenant_id, digest, grant_id, generation, issued_at, expires_at)
      values (p_tenant, p_refresh_digest, p_grant_id, family, moment, pg_catalog.to_timestamp(p_refresh_expires_at));
  end if;
  if p_opaque is not null then
    insert into tegata.opaque_token
        (tenant_id, digest, token_id, client_id, grant_id, user_id, subject, scopes, audience, claims, issued_at,
         expires_at)
      select p_tenant, p_opaque_digest, o.token_id, o.client_id, o.grant_id, o.user_id, o.subject, o.scopes,
             o.audience, o.claims, pg_catalog.to_timestamp(o.issued_at), pg_catalog.to_timestamp(o.expires_at)
        from pg_catalog.jsonb_to_record(p_opaque) as o
             (token_id text, client_id text, grant_id uuid, user_id uuid, subject text, scopes text[],
              audience text[], claims jsonb, issued_at double precision, expires_at double precision);
  end if;
  perform tegata.append_events(p_tenant, p_events);
  return true;
end $$;
