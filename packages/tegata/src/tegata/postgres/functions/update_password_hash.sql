-- Replace the hash of a password, after a change or because the parameters of the hash have grown.
create or replace function tegata.update_password_hash(p_tenant uuid, p_user_id uuid, p_password_hash text)
  returns void
  language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  update tegata.account a set password_hash = p_password_hash where a.tenant_id = p_tenant and a.user_id = p_user_id;
end $$;
