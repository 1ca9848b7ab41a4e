-- The workers that were seen within the last day.
SELECT w.name, w.hostname, w.pid, w.version, w.sent_total, w.failed_total,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - w.started_at)::double precision AS started_seconds,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - w.last_seen)::double precision AS seen_seconds
FROM matrix_worker AS w
ORDER BY w.name
