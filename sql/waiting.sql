-- What still waits. Counted up to a bound for each backend: many messages of one that is stopped must not hide those of another.
--
-- $1 count at most so many of each backend
SELECT COALESCE(sum(waiting.messages), 0)::bigint AS messages
FROM matrix_backend AS b
CROSS JOIN LATERAL (
    SELECT count(*) AS messages
    FROM (
        SELECT FROM matrix_outbox AS o
        -- '0' follows '/' in byte order, so this is the range of all lanes of the backend.
        WHERE o.lane > b.id || '/' AND o.lane < b.id || '0'
        LIMIT $1::bigint
    ) AS o
) AS waiting
