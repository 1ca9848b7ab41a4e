-- Lease the free ones among the candidate lanes. Each lease increments the epoch, which fences everything that is written later.
--
-- $1 owner, $2 candidate lanes, all of one backend, $3 lanes at most, $4 lease in ms
-- $5 the backend, $6 whether this is the one lane of its slot
-- Returns no row if the backend has been limited or stopped since the walk: another worker recorded that and gave back the lane
-- that is free here. sql/messages.sql reads the messages of the lanes in a later transaction: a lane that was given back after this
-- statement began is leased in its present state, but this statement would read its messages in their earlier state.
WITH pick AS MATERIALIZED (
    SELECT l.id, l.lane, l.epoch + 1 AS epoch, l.lease_until IS NOT NULL AS is_taken_over, l.head_id, l.attempts, l.first_failed_at,
        l.last_error, l.room_id
    FROM matrix_lane AS l
    WHERE l.lane = ANY ($2::text[])
        AND (l.lease_until IS NULL OR l.lease_until < now() AT TIME ZONE 'UTC')
        AND (l.retry_at IS NULL OR l.retry_at <= now() AT TIME ZONE 'UTC')
        AND (
            SELECT CASE s.state WHEN 'ok' THEN true WHEN 'rate_limited' THEN $6::boolean AND s.paused_until <= now() AT TIME ZONE 'UTC'
                ELSE false END
            FROM matrix_backend_status AS s WHERE s.backend_id = $5::integer
        ) IS NOT FALSE
    ORDER BY l.lane
    LIMIT $3::integer
    FOR UPDATE SKIP LOCKED
), leased AS (
    -- Each of these lanes exists and is locked, so this never inserts. A join would compare every lane with every other one.
    INSERT INTO matrix_lane (id, lane, epoch, owner, lease_until)
    SELECT pick.id, pick.lane, pick.epoch, $1, now() AT TIME ZONE 'UTC' + $4::integer * interval '1 ms' FROM pick
    ON CONFLICT (lane) DO UPDATE SET
        epoch = excluded.epoch, owner = excluded.owner, lease_until = excluded.lease_until, retry_at = NULL
)
SELECT pick.lane, pick.epoch, pick.is_taken_over, pick.head_id, pick.attempts,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - pick.first_failed_at)::double precision AS failing_seconds, pick.last_error, pick.room_id
FROM pick
