-- Replace a hash whose parameters are outdated, unless the password has been changed since that hash was read.
create or replace function tegata.update_password_hash(p_tenant uuid, p_user_id uuid, p_old text, p_new text)
  returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  update tegata.account a set password_hash = p_new
    where a.tenant_id = p_tenant and a.user_id = p_user_id and a.password_hash = p_old;
end $$;
