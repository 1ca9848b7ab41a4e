-- The homeserver is down or refuses the account: nobody sends until a probe succeeds.
-- Probes start at intervals of 5 s and slow down to 60 s. A homeserver that answers probes may still refuse messages: if the backend
-- has accepted none since it came back, the intervals continue where they were, unless it came back more than ten minutes ago.
--
-- $1 backend, $2 the configuration that it was seen with, $3 state, $4 reason
INSERT INTO matrix_backend_status AS s (backend_id, config_version, state, reason, probe_interval_ms, next_probe_at, checked_at)
SELECT $1, $2::integer, $3::text, $4::text, probe.interval_ms, now_utc + probe.interval_ms * interval '1 ms', now_utc
FROM (SELECT now() AT TIME ZONE 'UTC' AS now_utc) AS t
LEFT JOIN matrix_backend_status AS before ON before.backend_id = $1
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN before.state = 'ok' AND before.since > now_utc - interval '10 min' AND NOT EXISTS (
            SELECT FROM matrix_log AS l WHERE l.backend_id = $1 AND l.status = 'ok' AND l.date > before.since
        ) THEN COALESCE(before.probe_interval_ms, 5000)
        ELSE 5000
    END AS interval_ms
) AS probe
ON CONFLICT (backend_id) DO UPDATE SET
    state = excluded.state, reason = excluded.reason, config_version = excluded.config_version, checked_at = excluded.checked_at,
    since = CASE WHEN s.state = excluded.state THEN s.since ELSE excluded.checked_at END,
    probe_interval_ms = CASE
        WHEN s.state IN ('ok', 'rate_limited') THEN excluded.probe_interval_ms
        ELSE COALESCE(s.probe_interval_ms, 5000)
    END,
    next_probe_at = CASE
        WHEN s.state IN ('ok', 'rate_limited') OR s.next_probe_at IS NULL OR s.config_version <> excluded.config_version
            THEN excluded.next_probe_at
        ELSE s.next_probe_at
    END
WHERE s.state <> 'paused' AND s.config_version <= excluded.config_version
