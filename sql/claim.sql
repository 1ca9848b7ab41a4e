-- Lease what is free among the candidate lanes. The epoch grows with each lease and is the fence for everything that is
-- written later.
--
-- $1 owner, $2 candidate lanes, all of one backend, $3 lanes at most, $4 lease in ms
-- $5 the backend, $6 whether this is the one lane of its slot
-- Nothing when the backend has been limited or stopped since the walk: another worker heard of it, wrote it down and gave back
-- the lane that is found free here.
-- Their messages are read by sql/messages.sql, in a transaction that begins after this one: a lane that was given back since
-- this statement began is leased as it is now, but its messages would be read as they were.
WITH pick AS MATERIALIZED (
    SELECT l.lane, l.lease_until IS NOT NULL AS is_taken_over
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
)
UPDATE matrix_lane AS l
SET lease_until = now() AT TIME ZONE 'UTC' + $4::integer * interval '1 ms', owner = $1, epoch = l.epoch + 1, retry_at = NULL
FROM pick
WHERE l.lane = ANY ($2::text[]) AND l.lane = pick.lane
RETURNING l.lane, l.epoch, pick.is_taken_over, l.head_id, l.attempts,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - l.first_failed_at)::double precision AS failing_seconds, l.room_id
