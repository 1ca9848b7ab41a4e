-- The clock of the database was set back, perhaps while no worker ran: times that were written before would come too late. So a time
-- that is further in the future than a worker ever sets it is treated as over. Only a lease is shortened to the longest lease that
-- any worker may have instead: its holder may be alive, and measures time by another clock.
-- Reads every lane. It runs when a worker starts and after the clock was set back.
--
-- $1 longest lease in ms, $2 longest pause that a homeserver may ask for, in ms
-- Returns how many rows were changed.
WITH bound AS MATERIALIZED (
    SELECT now_utc, now_utc + $1::bigint * interval '1 ms' AS lease, now_utc + $2::bigint * interval '1 ms' AS pause,
        -- Pauses between probes are shorter.
        now_utc + interval '2 min' AS probe
    FROM (SELECT now() AT TIME ZONE 'UTC' AS now_utc) AS t
), ahead AS MATERIALIZED (
    SELECT l.id
    FROM matrix_lane AS l
    CROSS JOIN bound
    WHERE l.lease_until > bound.lease OR l.retry_at > bound.pause OR l.first_failed_at > bound.now_utc
    -- All writers lock lanes in this order, so two of them cannot block each other.
    ORDER BY l.lane
    FOR UPDATE OF l
), lane AS (
    UPDATE matrix_lane AS l
    -- Not with LEAST, which ignores NULL: it would set a time where there was none.
    SET lease_until = CASE WHEN l.lease_until > bound.lease THEN bound.lease ELSE l.lease_until END,
        retry_at = CASE WHEN l.retry_at > bound.pause THEN NULL ELSE l.retry_at END,
        first_failed_at = CASE WHEN l.first_failed_at > bound.now_utc THEN bound.now_utc ELSE l.first_failed_at END
    FROM ahead CROSS JOIN bound
    WHERE l.id = ahead.id
    RETURNING l.id
), status AS (
    UPDATE matrix_backend_status AS s
    SET paused_until = CASE WHEN s.paused_until > bound.pause THEN bound.now_utc ELSE s.paused_until END,
        next_send_at = CASE WHEN s.next_send_at > bound.pause THEN bound.now_utc ELSE s.next_send_at END,
        next_probe_at = CASE WHEN s.next_probe_at > bound.probe THEN bound.now_utc ELSE s.next_probe_at END,
        since = CASE WHEN s.since > bound.now_utc THEN bound.now_utc ELSE s.since END,
        checked_at = CASE WHEN s.checked_at > bound.now_utc THEN bound.now_utc ELSE s.checked_at END
    FROM bound
    WHERE s.paused_until > bound.pause OR s.next_send_at > bound.pause OR s.next_probe_at > bound.probe
        OR s.since > bound.now_utc OR s.checked_at > bound.now_utc
    RETURNING s.id
), worker AS (
    UPDATE matrix_worker AS w
    SET last_seen = LEAST(w.last_seen, bound.now_utc), started_at = LEAST(w.started_at, bound.now_utc)
    FROM bound
    WHERE w.last_seen > bound.now_utc OR w.started_at > bound.now_utc
    RETURNING w.id
)
SELECT (SELECT count(*) FROM lane) + (SELECT count(*) FROM status) + (SELECT count(*) FROM worker) AS changed
