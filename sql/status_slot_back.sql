-- Give the slot of a limited backend back, unused.
--
-- $1 backend
UPDATE matrix_backend_status
SET next_send_at = now() AT TIME ZONE 'UTC'
-- A pause that was set since then stays.
WHERE backend_id = $1 AND state = 'rate_limited' AND paused_until <= now() AT TIME ZONE 'UTC'
    AND next_send_at > now() AT TIME ZONE 'UTC'
