-- The state of the backend was seen with another configuration than the present one: forget the state.
-- Usually that was an earlier configuration; a later one if Odoo's table was restored and this one was not.
--
-- $1 backend
UPDATE matrix_backend_status AS s
SET state = 'ok', reason = NULL, paused_until = NULL, next_send_at = NULL, interval_ms = NULL, next_probe_at = NULL,
    probe_interval_ms = NULL, since = now() AT TIME ZONE 'UTC', config_version = b.config_version,
    matrix_user_id = NULL, device_id = NULL, server_version = NULL
FROM matrix_backend AS b
WHERE b.id = $1 AND s.backend_id = b.id AND s.config_version <> b.config_version AND s.state <> 'paused'
