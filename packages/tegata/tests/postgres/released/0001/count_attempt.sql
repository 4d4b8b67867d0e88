-- Let an attempt through and count it in every bucket, or return the seconds to wait and count nothing. The rule is
-- tegata.identity.throttle.wait_seconds. Buckets are locked in the order of their keys, so that two calls with the
-- same keys cannot wait for each other.
create or replace function tegata.count_attempt(
    p_tenant uuid, p_keys bytea[], p_free integer[], p_first_pause double precision, p_longest_pause double precision,
    p_window_seconds integer, p_now double precision)
  returns double precision
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := pg_catalog.to_timestamp(p_now);
  oldest timestamptz := moment - pg_catalog.make_interval(secs => p_window_seconds);
  longest double precision := 0;
  bucket record;
  found_row tegata.throttle;
begin
  perform pg_catalog.set_config('app.tenant_id', p_tenant::text, true);
  for bucket in
    select b.key, pg_catalog.min(b.free) as free from unnest(p_keys, p_free) b (key, free)
      group by b.key order by b.key
  loop
    insert into tegata.throttle as t (tenant_id, key, failures, last_failure_at)
      values (p_tenant, bucket.key, 0, moment)
      on conflict (tenant_id, key) do update
        set failures = case when t.last_failure_at < oldest then 0 else t.failures end
      returning * into found_row;
    if found_row.failures >= bucket.free and found_row.failures > 0 then
      longest := greatest(longest, extract(epoch from found_row.last_failure_at) - p_now + least(
        p_longest_pause, p_first_pause * pg_catalog.power(2.0, least(found_row.failures - bucket.free, 20))));
    end if;
  end loop;
  if longest > 0 then
    return longest;
  end if;
  update tegata.throttle t set failures = t.failures + 1, failure_before_at = t.last_failure_at, last_failure_at = moment
    where t.tenant_id = p_tenant and t.key = any (p_keys);
  return 0;
end $$;
