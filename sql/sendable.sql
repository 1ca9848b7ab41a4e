-- Whether a message waits that can be sent without anybody's help: its backend may send, and its lane does not rest because its
-- room cannot be reached. Lanes leased by other workers count, because those may die, and so do limited lanes, whose rest has a known
-- end. Each lane costs one descent of matrix_outbox_lane_id_idx and one of matrix_lane_lane_key, however much waits in it.
WITH RECURSIVE lane (lane, ends_before, is_failing) AS (
    -- Where the walk begins; no lane yet.
    -- '0' follows '/' in byte order, so that the range is that of all lanes of the backend.
    SELECT (b.id || '/')::varchar COLLATE "C", b.id || '0', true
    FROM matrix_backend AS b
    LEFT JOIN matrix_backend_status AS s ON s.backend_id = b.id
    WHERE b.is_active
        AND CASE WHEN s.state = 'paused' OR s.config_version = b.config_version THEN s.state ELSE 'ok' END IN ('ok', 'rate_limited')
    UNION ALL
    SELECT next.lane, lane.ends_before, rest.is_failing
    FROM lane
    CROSS JOIN LATERAL (
        SELECT o.lane FROM matrix_outbox AS o
        WHERE o.lane > lane.lane AND o.lane < lane.ends_before
        ORDER BY o.lane LIMIT 1
    ) AS next
    CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT FROM matrix_lane AS l
            WHERE l.lane = next.lane AND l.last_error IS NOT NULL AND l.retry_at > now() AT TIME ZONE 'UTC'
        ) AS is_failing
    ) AS rest
    -- For each backend, the first message that can be sent is enough.
    WHERE lane.is_failing
)
SELECT EXISTS (SELECT FROM lane WHERE NOT lane.is_failing) AS is_sendable
