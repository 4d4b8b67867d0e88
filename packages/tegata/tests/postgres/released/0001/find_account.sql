-- An account by its normalised username or, if exactly one has verified it, by its e-mail address.
create or replace function tegata.find_account(p_tenant uuid, p_login text)
  returns table (user_id uuid, user_username text, user_claims jsonb, user_roles text[], user_disabled boolean,
    user_updated_at double precision, password_hash text)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  chosen uuid;
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  select a.user_id into chosen from tegata.account a where a.tenant_id = p_tenant and a.username_norm = p_login;
  if not found then
    select (pg_catalog.array_agg(a.user_id))[1] into chosen from tegata.account a
      where a.tenant_id = p_tenant and a.login_email = p_login having pg_catalog.count(*) = 1;
  end if;
  return query select a.user_id, a.username, a.claims, a.roles, a.disabled,
      extract(epoch from a.updated_at)::double precision, a.password_hash
    from tegata.account a where a.tenant_id = p_tenant and a.user_id = chosen;
end $$;
