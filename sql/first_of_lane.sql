-- The first messages of a lane, in order, and the failed rows in the log of those that have failed before.
--
-- $1 lane, $2 messages at most
SELECT o.id, o.txn_id, g.failed_row
FROM (
    SELECT o.id, o.txn_id, o.queued_at FROM matrix_outbox AS o
    -- By the index on lanes, as in sql/messages.sql.
    WHERE o.lane >= $1::text AND o.lane <= $1::text
    ORDER BY o.lane, o.id LIMIT $2::integer
) AS o
LEFT JOIN LATERAL (
    SELECT g.id::bigint AS failed_row FROM matrix_log AS g
    WHERE g.status = 'failed' AND g.date >= o.queued_at AND g.outbox_id = o.id AND NOT g.is_final
    LIMIT 1
) AS g ON true
ORDER BY o.id
