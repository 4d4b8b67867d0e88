-- A tenant by its name, in one round trip: the id by find_tenant(), the row under the tenant's own policy.
create or replace function tegata.load_tenant(p_name text)
  returns table (tenant_id uuid, name text, policy jsonb, pairwise_salt bytea)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  wanted uuid := tegata.find_tenant(p_name);
begin
  if wanted is null then
    return;
  end if;
  perform pg_catalog.set_config('app.tenant_id', wanted::text, true);
  return query select t.tenant_id, t.name, t.policy, t.pairwise_salt from tegata.tenant t where t.tenant_id = wanted;
end $$;
