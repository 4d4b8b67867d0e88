-- The one look-up that starts without a tenant, and the only function that does not run with its caller's rights:
-- an exact name gives an id, nothing else can be learnt from it.
create or replace function tegata.find_tenant(p_name text) returns uuid
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (select d.tenant_id from tegata.tenant_directory d where d.name = p_name);
end $$;
