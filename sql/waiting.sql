-- What still waits, counted up to a bound, by whether its backend could send it.
--
-- $1 count at most so many
SELECT o.is_sendable, count(*) AS messages
FROM (
    SELECT COALESCE(b.is_active, false) AND COALESCE(s.state, 'ok') IN ('ok', 'rate_limited') AS is_sendable
    FROM matrix_outbox AS o
    JOIN matrix_backend AS b ON b.id = o.backend_id
    LEFT JOIN matrix_backend_status AS s ON s.backend_id = b.id
    LIMIT $1::bigint
) AS o
GROUP BY o.is_sendable
