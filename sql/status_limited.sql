-- The homeserver limits the account: nobody sends before the pause is over, then all workers share one pace.
-- The interval starts at the length of the pause, at most 5 s; each message then shortens it a little. A 429 that arrives during the
-- pause only lengthens the pause. A 429 after it means that the pace is too fast, and shows by how much: the message before used up
-- the account's allowance, and the next one would have been accepted after the interval and this pause together. A pause in whole
-- seconds is less precise, so it lengthens the interval by half at most.
--
-- $1 backend, $2 the configuration that it was seen with, $3 pause in ms
INSERT INTO matrix_backend_status AS s (backend_id, config_version, state, reason, paused_until, next_send_at, interval_ms, checked_at)
SELECT $1, $2::integer, 'rate_limited', 'the homeserver limits this account', until, until, LEAST(GREATEST($3::bigint, 50), 5000), now_utc
FROM (SELECT now() AT TIME ZONE 'UTC' AS now_utc, now() AT TIME ZONE 'UTC' + $3::bigint * interval '1 ms' AS until) AS t
ON CONFLICT (backend_id) DO UPDATE SET
    state = excluded.state, reason = excluded.reason, config_version = excluded.config_version, checked_at = excluded.checked_at,
    paused_until = GREATEST(s.paused_until, excluded.paused_until),
    next_send_at = GREATEST(s.paused_until, excluded.paused_until),
    interval_ms = CASE
        WHEN s.state <> 'rate_limited' THEN excluded.interval_ms
        WHEN s.paused_until > excluded.checked_at THEN s.interval_ms
        ELSE LEAST(LEAST(s.interval_ms + $3::bigint, s.interval_ms * 1.5) * 1.05, 60000)
    END,
    since = CASE WHEN s.state = excluded.state THEN s.since ELSE excluded.checked_at END
-- An operator's pause stays, and so does a state seen with a newer configuration.
WHERE s.state <> 'paused' AND s.config_version <= excluded.config_version
