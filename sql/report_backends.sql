-- What `status` shows about each backend. Its waiting messages are counted up to a bound; their age is that of the oldest one counted.
--
-- $1 count at most so many, $2 error codes of lines that are no failure to send a message
-- unreached: people whose messages wait after a failure, or have failed for good within a day
-- due_seconds: when a limited backend sends again, or a stopped one is probed again
WITH first AS MATERIALIZED (
    -- The oldest messages of all backends: in a long backlog the counting by lane may not reach them.
    SELECT o.backend_id, o.queued_at FROM matrix_outbox AS o ORDER BY o.id LIMIT $1::bigint
), hour AS (
    SELECT g.backend_id, count(*) FILTER (WHERE g.status = 'ok') AS sent,
        count(*) FILTER (WHERE g.status = 'failed' AND g.is_final AND (g.error_code = ANY ($2::text[])) IS NOT TRUE) AS failed
    FROM matrix_log AS g
    WHERE g.date > now() AT TIME ZONE 'UTC' - interval '1 hour'
    GROUP BY g.backend_id
)
SELECT b.id, b.name, COALESCE(b.is_active, false) AS is_active, now_state.state,
    CASE WHEN now_state.state <> 'ok' THEN s.reason END AS reason,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - s.since)::double precision AS state_seconds,
    EXTRACT(EPOCH FROM CASE
        WHEN now_state.state = 'rate_limited' THEN GREATEST(s.paused_until, s.next_send_at)
        WHEN now_state.state IN ('down', 'unauthorized', 'misconfigured') THEN s.next_probe_at
    END - now() AT TIME ZONE 'UTC')::double precision AS due_seconds,
    waiting.messages,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC'
        - LEAST(waiting.oldest, (SELECT min(first.queued_at) FROM first WHERE first.backend_id = b.id)))::double precision
        AS oldest_seconds,
    COALESCE(hour.sent, 0) AS sent, COALESCE(hour.failed, 0) AS failed, direct.rooms AS direct_rooms, direct.unreached
FROM matrix_backend AS b
LEFT JOIN matrix_backend_status AS s ON s.backend_id = b.id
LEFT JOIN hour ON hour.backend_id = b.id
CROSS JOIN LATERAL (
    -- A state that was seen with another configuration no longer counts; an operator's pause does.
    SELECT CASE WHEN s.state = 'paused' OR s.config_version = b.config_version THEN s.state ELSE 'ok' END AS state
) AS now_state
CROSS JOIN LATERAL (
    SELECT count(*) AS messages, min(o.queued_at) AS oldest
    FROM (
        SELECT o.queued_at FROM matrix_outbox AS o
        WHERE o.lane > b.id || '/' AND o.lane < b.id || '0'
        LIMIT $1::bigint
    ) AS o
) AS waiting
CROSS JOIN LATERAL (
    SELECT count(l.room_id) AS rooms, (
        SELECT count(*) FROM (
            SELECT g.matrix_user_id FROM matrix_log AS g
            WHERE g.status = 'failed' AND g.date > now() AT TIME ZONE 'UTC' - interval '1 day'
                AND g.backend_id = b.id AND g.is_final AND g.matrix_user_id IS NOT NULL
                AND (g.error_code = ANY ($2::text[])) IS NOT TRUE
            UNION
            SELECT o.matrix_user_id FROM matrix_lane AS held
            JOIN matrix_outbox AS o ON o.id = held.head_id
            WHERE held.lane > b.id || '/@' AND held.lane < b.id || '/A' AND held.first_failed_at IS NOT NULL
        ) AS people
    ) AS unreached
    FROM matrix_lane AS l
    -- 'A' follows '@' in byte order, so this is the range of the lanes of people.
    WHERE l.lane > b.id || '/@' AND l.lane < b.id || '/A'
) AS direct
ORDER BY b.id
