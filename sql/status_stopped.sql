-- The homeserver is away or refuses the account: nobody sends until a probe succeeds.
-- Probes begin at 5 s and slow down to 60 s. A backend that fell again within a minute of coming back goes on where it was.
--
-- $1 backend, $2 the configuration that it was seen with, $3 state, $4 reason
INSERT INTO matrix_backend_status AS s (backend_id, config_version, state, reason, probe_interval_ms, next_probe_at, checked_at)
SELECT $1, $2::integer, $3::text, $4::text, 5000, now_utc + interval '5 s', now_utc
FROM (SELECT now() AT TIME ZONE 'UTC' AS now_utc) AS t
ON CONFLICT (backend_id) DO UPDATE SET
    state = excluded.state, reason = excluded.reason, config_version = excluded.config_version, checked_at = excluded.checked_at,
    since = CASE WHEN s.state = excluded.state THEN s.since ELSE excluded.checked_at END,
    probe_interval_ms = CASE
        WHEN s.state = 'ok' AND s.since > excluded.checked_at - interval '1 min' THEN LEAST(COALESCE(s.probe_interval_ms, 5000) * 1.5, 60000)
        WHEN s.state IN ('ok', 'rate_limited') THEN 5000
        ELSE COALESCE(s.probe_interval_ms, 5000)
    END,
    next_probe_at = CASE
        WHEN s.state IN ('ok', 'rate_limited') OR s.next_probe_at IS NULL OR s.config_version <> excluded.config_version
            THEN excluded.next_probe_at
        ELSE s.next_probe_at
    END
WHERE s.state <> 'paused' AND s.config_version <= excluded.config_version
