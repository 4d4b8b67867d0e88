-- Undo the attempt that was counted at p_now in these buckets: one failure less, and the time of the last one as it was
-- before, unless another attempt has come since. Locked in the order of the keys, as count_attempt does.
create or replace function tegata.take_back_attempt(p_tenant uuid, p_keys bytea[], p_now double precision) returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := pg_catalog.to_timestamp(p_now);
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  perform from tegata.throttle t where t.tenant_id = p_tenant and t.key = any (p_keys) order by t.key for update;
  delete from tegata.throttle t where t.tenant_id = p_tenant and t.key = any (p_keys) and t.failures <= 1;
  update tegata.throttle t
    set failures = t.failures - 1,
        last_failure_at = case when t.last_failure_at = moment then coalesce(t.failure_before_at, t.last_failure_at)
                               else t.last_failure_at end
    where t.tenant_id = p_tenant and t.key = any (p_keys);
end $$;
