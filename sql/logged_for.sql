-- For how many seconds a message that waits has had its failed row in the log; no row if it has none.
--
-- $1 lane, $2 message id
SELECT EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - g.date)::double precision AS logged_seconds
FROM matrix_outbox AS o
CROSS JOIN LATERAL (
    SELECT g.date FROM matrix_log AS g
    WHERE g.status = 'failed' AND g.date >= o.queued_at AND g.outbox_id = o.id AND NOT g.is_final
    ORDER BY g.date
    LIMIT 1
) AS g
WHERE o.lane = $1::text AND o.id = $2::bigint
