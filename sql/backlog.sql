-- How much waits: the number of messages, counted up to a bound in the order of their ids, and the age in seconds of the oldest
-- of them (NULL when nothing waits).
--
-- $1 count at most so many
SELECT count(*) AS messages, EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - min(o.queued_at))::double precision AS oldest_seconds
FROM (SELECT queued_at FROM matrix_outbox ORDER BY id LIMIT $1::bigint) AS o
