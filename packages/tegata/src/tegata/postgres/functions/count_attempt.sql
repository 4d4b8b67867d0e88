-- Count one attempt for each key before it is checked, and return the state before. Keys are taken in sorted order,
-- so that two calls with the same keys cannot wait for each other.
create or replace function tegata.count_attempt(
    p_tenant uuid, p_keys bytea[], p_window_seconds integer, p_now double precision)
  returns table (key bytea, failures integer, last_failure_at double precision)
  language plpgsql set search_path = '' as $$
declare
  moment timestamptz := pg_catalog.to_timestamp(p_now);
  oldest timestamptz := moment - pg_catalog.make_interval(secs => p_window_seconds);
  one bytea;
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  for one in select distinct k from pg_catalog.unnest(p_keys) k order by k loop
    return query
      insert into tegata.throttle as t (tenant_id, key, failures, last_failure_at)
        values (p_tenant, one, 1, moment)
        on conflict on constraint throttle_pkey do update
          set failures = case when t.last_failure_at < oldest then 1 else t.failures + 1 end,
              previous_failure_at = case when t.last_failure_at < oldest then null else t.last_failure_at end,
              last_failure_at = greatest(t.last_failure_at, excluded.last_failure_at)
        returning t.key, t.failures - 1, coalesce(extract(epoch from t.previous_failure_at), 0)::double precision;
  end loop;
end $$;
