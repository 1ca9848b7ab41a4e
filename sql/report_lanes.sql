-- What `lanes` shows: lanes that have messages (of each backend the first ones in byte order, up to $2), and all that are leased or
-- held. Lanes with a failure come first, then those that have waited longest.
--
-- $1 the one backend, or NULL for all, $2 lanes of each backend at most, $3 count at most so many messages of a lane,
-- $4 only lanes with a failure: their held message has failed and still waits
WITH RECURSIVE waiting (lane, ends_before, n) AS (
    SELECT first.lane, b.id || '0', 1
    FROM matrix_backend AS b
    CROSS JOIN LATERAL (
        SELECT o.lane FROM matrix_outbox AS o
        -- '0' follows '/' in byte order, so this is the range of all lanes of the backend.
        WHERE o.lane > b.id || '/' AND o.lane < b.id || '0'
        ORDER BY o.lane LIMIT 1
    ) AS first
    -- Lanes with a failure are found without a walk over all lanes that have messages.
    WHERE ($1::integer IS NULL OR b.id = $1) AND NOT $4::boolean
    UNION ALL
    SELECT next.lane, waiting.ends_before, waiting.n + 1
    FROM waiting
    CROSS JOIN LATERAL (
        SELECT o.lane FROM matrix_outbox AS o
        WHERE o.lane > waiting.lane AND o.lane < waiting.ends_before
        ORDER BY o.lane LIMIT 1
    ) AS next
    WHERE waiting.n < $2::integer
), shown AS (
    SELECT waiting.lane FROM waiting
    UNION
    SELECT l.lane FROM matrix_lane AS l
    WHERE (l.lease_until IS NOT NULL OR l.head_id IS NOT NULL)
        AND ($1::integer IS NULL OR (l.lane > $1 || '/' AND l.lane < $1 || '0'))
        AND (NOT $4::boolean OR l.last_error IS NOT NULL)
)
SELECT shown.lane, counted.messages, head.id AS head_id,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - head.queued_at)::double precision AS head_seconds,
    CASE WHEN head.is_held THEN l.attempts ELSE 0 END AS attempts, trouble.last_error,
    EXTRACT(EPOCH FROM l.retry_at - now() AT TIME ZONE 'UTC')::double precision AS retry_seconds,
    CASE WHEN l.lease_until IS NOT NULL THEN l.owner END AS owner,
    EXTRACT(EPOCH FROM l.lease_until - now() AT TIME ZONE 'UTC')::double precision AS lease_seconds
FROM shown
LEFT JOIN matrix_lane AS l ON l.lane = shown.lane
LEFT JOIN LATERAL (
    -- The message that holds up the lane stays its head, even behind a message that was committed late, unless it was discarded.
    (SELECT o.id, o.queued_at, true AS is_held FROM matrix_outbox AS o WHERE o.id = l.head_id AND o.lane = shown.lane)
    UNION ALL
    (SELECT o.id, o.queued_at, false FROM matrix_outbox AS o
    -- By the index on lanes, as in sql/messages.sql.
    WHERE o.lane >= shown.lane AND o.lane <= shown.lane ORDER BY o.lane, o.id LIMIT 1)
    ORDER BY is_held DESC LIMIT 1
) AS head ON true
CROSS JOIN LATERAL (SELECT CASE WHEN head.is_held THEN l.last_error END AS last_error) AS trouble
CROSS JOIN LATERAL (
    SELECT count(*) AS messages FROM (SELECT FROM matrix_outbox AS o WHERE o.lane = shown.lane LIMIT $3::bigint) AS o
) AS counted
WHERE NOT $4::boolean OR trouble.last_error IS NOT NULL
ORDER BY trouble.last_error IS NULL, head.queued_at NULLS LAST, shown.lane
LIMIT $2::integer
