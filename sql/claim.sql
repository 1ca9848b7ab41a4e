-- Lease what is free among the candidate lanes and read the first messages of each.
-- The epoch grows with each lease and is the fence for everything that is written later.
--
-- $1 owner, $2 candidate lanes, $3 lanes at most, $4 messages per lane at most, $5 lease in ms,
-- $6 age in ms beyond which the homeserver's memory of transaction ids is not trusted
-- Rows come in no order: sort by id. A lane whose messages are gone comes with id NULL and is to be released.
WITH pick AS MATERIALIZED (
    SELECT l.lane, l.lease_until IS NOT NULL AS is_taken_over
    FROM matrix_lane AS l
    WHERE l.lane = ANY ($2::text[])
        AND (l.lease_until IS NULL OR l.lease_until < now() AT TIME ZONE 'UTC')
        AND (l.retry_at IS NULL OR l.retry_at <= now() AT TIME ZONE 'UTC')
    ORDER BY l.lane
    LIMIT $3::integer
    FOR UPDATE SKIP LOCKED
), leased AS (
    UPDATE matrix_lane AS l
    SET lease_until = now() AT TIME ZONE 'UTC' + $5::integer * interval '1 ms', owner = $1, epoch = l.epoch + 1, retry_at = NULL
    FROM pick
    WHERE l.lane = pick.lane
    RETURNING l.lane, l.epoch, pick.is_taken_over, l.head_id, l.attempts,
        EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - l.first_failed_at)::double precision AS failing_seconds, l.room_id
)
SELECT leased.lane, leased.epoch, leased.is_taken_over, leased.head_id, leased.attempts AS head_attempts,
    leased.failing_seconds, leased.room_id AS lane_room_id,
    o.id, o.room_id, o.matrix_user_id, o.matrix_type, o.content, o.txn_id, o.is_expired, o.is_past_dedup,
    o.event_type, o.queued_seconds
FROM leased
LEFT JOIN LATERAL (
    SELECT o.id, o.room_id, o.matrix_user_id, o.matrix_type, o.content::text AS content, o.txn_id,
        COALESCE(o.expires_at <= now() AT TIME ZONE 'UTC', false) AS is_expired,
        o.queued_at < now() AT TIME ZONE 'UTC' - $6::bigint * interval '1 ms' AS is_past_dedup,
        o.event_type, EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - o.queued_at)::double precision AS queued_seconds
    FROM matrix_outbox AS o
    WHERE o.lane = leased.lane
    ORDER BY o.id
    LIMIT $4::integer
) AS o ON true
