-- The homeserver answered whoami: the backend may send again, after what remains of the pause of an earlier limit.
--
-- $1 backend, $2 the configuration that it was seen with, $3 Matrix user id, $4 device id or NULL
INSERT INTO matrix_backend_status AS s (backend_id, config_version, state, matrix_user_id, device_id, checked_at)
VALUES ($1, $2::integer, 'ok', $3::text, $4::text, now() AT TIME ZONE 'UTC')
ON CONFLICT (backend_id) DO UPDATE SET
    state = CASE WHEN s.paused_until > excluded.checked_at THEN 'rate_limited' ELSE 'ok' END,
    reason = CASE WHEN s.paused_until > excluded.checked_at THEN 'the homeserver limits this account' END,
    paused_until = CASE WHEN s.paused_until > excluded.checked_at THEN s.paused_until END,
    next_send_at = CASE WHEN s.paused_until > excluded.checked_at THEN s.next_send_at END,
    config_version = excluded.config_version, next_probe_at = NULL,
    matrix_user_id = excluded.matrix_user_id, device_id = excluded.device_id, checked_at = excluded.checked_at,
    since = CASE WHEN s.state = 'ok' THEN s.since ELSE excluded.checked_at END
WHERE s.state NOT IN ('paused', 'rate_limited') AND s.config_version <= excluded.config_version
