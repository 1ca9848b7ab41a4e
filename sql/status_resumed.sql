-- An operator lets backends send again: ends a pause, a limit or an outage and forgets it. The workers are notified at once.
--
-- $1 backends
WITH before AS (
    SELECT s.backend_id, s.state FROM matrix_backend_status AS s WHERE s.backend_id = ANY ($1::integer[]) AND s.state <> 'ok'
), resumed AS (
    UPDATE matrix_backend_status AS s
    SET state = 'ok', reason = NULL, paused_until = NULL, next_send_at = NULL, interval_ms = NULL, next_probe_at = NULL,
        probe_interval_ms = NULL, since = now() AT TIME ZONE 'UTC', config_version = b.config_version
    FROM before
    JOIN matrix_backend AS b ON b.id = before.backend_id
    WHERE s.backend_id = before.backend_id
    RETURNING s.backend_id
)
SELECT resumed.backend_id, before.state AS was, pg_notify('matrix_outbox', '')::text
FROM resumed JOIN before USING (backend_id)
ORDER BY resumed.backend_id
