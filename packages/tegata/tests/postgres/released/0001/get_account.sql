-- A user by id.
create or replace function tegata.get_account(p_tenant uuid, p_user_id uuid)
  returns table (user_id uuid, user_username text, user_claims jsonb, user_roles text[], user_disabled boolean,
    user_updated_at double precision)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  return query select a.user_id, a.username, a.claims, a.roles, a.disabled,
      extract(epoch from a.updated_at)::double precision
    from tegata.account a where a.tenant_id = p_tenant and a.user_id = p_user_id;
end $$;
