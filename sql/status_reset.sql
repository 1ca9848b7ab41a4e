-- The backend has another configuration than the one that its state was seen with: forget the state.
--
-- $1 backend, $2 the configuration that holds now
UPDATE matrix_backend_status
SET state = 'ok', reason = NULL, paused_until = NULL, next_send_at = NULL, interval_ms = NULL, next_probe_at = NULL,
    probe_interval_ms = NULL, since = now() AT TIME ZONE 'UTC', config_version = $2::integer,
    matrix_user_id = NULL, device_id = NULL, server_version = NULL
WHERE backend_id = $1 AND config_version < $2::integer AND state <> 'paused'
