-- What still waits, by whether its backend could send it. Counted up to a bound for each backend: many messages of one that is
-- stopped must not hide those of another.
--
-- $1 count at most so many of each backend
SELECT b.is_sendable, sum(waiting.messages)::bigint AS messages
FROM (
    SELECT b.id, COALESCE(b.is_active, false)
        AND (s.state IS NULL OR s.state IN ('ok', 'rate_limited') OR (s.state <> 'paused' AND s.config_version <> b.config_version))
        AS is_sendable
    FROM matrix_backend AS b
    LEFT JOIN matrix_backend_status AS s ON s.backend_id = b.id
) AS b
CROSS JOIN LATERAL (
    SELECT count(*) AS messages
    FROM (
        SELECT FROM matrix_outbox AS o
        -- '0' follows '/' in byte order, so this is the range of all lanes of the backend.
        WHERE o.lane > b.id || '/' AND o.lane < b.id || '0'
        LIMIT $1::bigint
    ) AS o
) AS waiting
WHERE waiting.messages > 0
GROUP BY b.is_sendable
