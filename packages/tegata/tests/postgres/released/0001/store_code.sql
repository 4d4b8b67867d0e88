-- Keep a grant and its code; false, and nothing kept, if the session has ended in the meantime. With p_interaction,
-- that interaction is consumed: likewise if it is gone already, so that of two tabs one gets a code.
create or replace function tegata.store_code(
    p_tenant uuid, p_interaction bytea, p_digest bytea, p_redirect_uri text, p_redirect_uri_was_sent boolean,
    p_code_challenge text, p_expires_at double precision, p_grant_id uuid, p_client_id text, p_user_id uuid,
    p_session_id uuid, p_scopes text[], p_resources text[], p_claims jsonb, p_auth_time double precision, p_amr text[],
    p_acr text, p_nonce text, p_offline boolean, p_created_at double precision, p_events jsonb)
  returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  if p_session_id is not null then
    -- The lock makes a logout wait, which then finds the grant.
    perform from tegata.session s where s.tenant_id = p_tenant and s.session_id = p_session_id for key share;
    if not found then
      return false;
    end if;
  end if;
  if p_interaction is not null then
    delete from tegata.interaction i where i.tenant_id = p_tenant and i.digest = p_interaction;
    if not found then
      return false;
    end if;
  end if;
  insert into tegata.grant_record
      (tenant_id, grant_id, client_id, user_id, session_id, scopes, resources, claims, auth_time, amr, acr, nonce,
       offline, created_at, expires_at)
    values (p_tenant, p_grant_id, p_client_id, p_user_id, p_session_id, p_scopes, p_resources, p_claims,
       pg_catalog.to_timestamp(p_auth_time), p_amr, p_acr, p_nonce, p_offline, pg_catalog.to_timestamp(p_created_at),
       pg_catalog.to_timestamp(p_expires_at));
  insert into tegata.authorization_code
      (tenant_id, digest, grant_id, redirect_uri, redirect_uri_was_sent, code_challenge, expires_at)
    values (p_tenant, p_digest, p_grant_id, p_redirect_uri, p_redirect_uri_was_sent, p_code_challenge,
       pg_catalog.to_timestamp(p_expires_at));
  perform tegata.append_events(p_tenant, p_events);
  return true;
end $$;
