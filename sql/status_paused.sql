-- An operator pauses backends: nobody sends before an operator resumes them, whatever their configuration becomes.
-- The workers are notified at once.
--
-- $1 backends, $2 reason
WITH before AS (
    SELECT s.backend_id, s.state FROM matrix_backend_status AS s WHERE s.backend_id = ANY ($1::integer[])
), paused AS (
    INSERT INTO matrix_backend_status AS s (backend_id, config_version, state, reason)
    SELECT b.id, b.config_version, 'paused', $2::text FROM matrix_backend AS b WHERE b.id = ANY ($1::integer[])
    ON CONFLICT (backend_id) DO UPDATE SET
        state = excluded.state, reason = excluded.reason, config_version = excluded.config_version,
        paused_until = NULL, next_send_at = NULL, interval_ms = NULL, next_probe_at = NULL, probe_interval_ms = NULL,
        since = CASE WHEN s.state = 'paused' THEN s.since ELSE excluded.since END
    RETURNING s.backend_id
)
SELECT paused.backend_id, COALESCE(before.state, 'ok') AS was, pg_notify('matrix_outbox', '')::text
FROM paused LEFT JOIN before USING (backend_id)
ORDER BY paused.backend_id
