-- Take the next slot of a limited backend: one UPDATE, so that any number of workers keep one pace.
-- Slots follow one another at the interval, not at the moments when a worker asks for them: only a slot that is late by more than
-- one interval is lost. If an account has not sent for ten intervals, it is assumed to have recovered.
--
-- $1 backend
-- Returns no row if another worker has the slot.
UPDATE matrix_backend_status
SET next_send_at = GREATEST(next_send_at, now() AT TIME ZONE 'UTC' - interval_ms * interval '1 ms') + interval_ms * interval '1 ms',
    state = CASE WHEN next_send_at + interval_ms * interval '10 ms' < now() AT TIME ZONE 'UTC' THEN 'ok' ELSE state END,
    reason = CASE WHEN next_send_at + interval_ms * interval '10 ms' < now() AT TIME ZONE 'UTC' THEN NULL ELSE reason END
WHERE backend_id = $1 AND state = 'rate_limited'
    AND paused_until <= now() AT TIME ZONE 'UTC' AND next_send_at <= now() AT TIME ZONE 'UTC'
RETURNING state
