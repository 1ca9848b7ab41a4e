-- A limited backend took a message: send a little faster, until no pace is needed.
--
-- $1 backend
UPDATE matrix_backend_status
SET interval_ms = interval_ms * 0.97,
    state = CASE WHEN interval_ms < 40 THEN 'ok' ELSE state END,
    reason = CASE WHEN interval_ms < 40 THEN NULL ELSE reason END,
    since = CASE WHEN interval_ms < 40 THEN now() AT TIME ZONE 'UTC' ELSE since END
WHERE backend_id = $1 AND state = 'rate_limited' AND paused_until <= now() AT TIME ZONE 'UTC'
