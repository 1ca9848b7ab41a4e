-- How much waits, and what each active backend may do: one row per backend, and one with backend NULL when there is none. The number
-- of messages is counted up to a bound in the order of their ids; the age in seconds is that of the oldest of them (NULL when nothing
-- waits). A state that was seen with another configuration no longer counts.
--
-- $1 count at most so many, $2 whether this worker can encrypt
SELECT b.id AS backend, CASE WHEN s.state = 'paused' OR s.config_version = b.config_version THEN s.state ELSE 'ok' END AS state,
    waiting.messages, waiting.oldest_seconds,
    -- Whether the account is to be followed, as in sql/follow.sql; NULL with the previous contract, which has no such setting.
    CASE WHEN to_regclass('matrix_follower') IS NOT NULL
        THEN COALESCE(to_jsonb(b) ->> 'inbound_mode' IN ('follow', 'appservice'), false)
            OR $2::boolean AND COALESCE(to_jsonb(b) ->> 'encryption_mode' = 'encrypt', false)
    END AS asks
FROM (
    SELECT count(*) AS messages, EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - min(o.queued_at))::double precision AS oldest_seconds
    FROM (SELECT queued_at FROM matrix_outbox ORDER BY id LIMIT $1::bigint) AS o
) AS waiting
LEFT JOIN matrix_backend AS b ON b.is_active
LEFT JOIN matrix_backend_status AS s ON s.backend_id = b.id
ORDER BY b.id
