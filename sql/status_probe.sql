-- Take the next probe of a stopped backend: one prober among all workers.
--
-- $1 backend
-- Returns no row if it is another worker's turn.
UPDATE matrix_backend_status
SET next_probe_at = now() AT TIME ZONE 'UTC' + probe_interval_ms * interval '1 ms',
    probe_interval_ms = LEAST(probe_interval_ms * 1.5, 60000),
    checked_at = now() AT TIME ZONE 'UTC'
WHERE backend_id = $1 AND state IN ('down', 'unauthorized', 'misconfigured') AND next_probe_at <= now() AT TIME ZONE 'UTC'
RETURNING state
