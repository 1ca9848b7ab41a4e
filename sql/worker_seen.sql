-- The heartbeat. Workers that have not been seen for a day are gone.
--
-- $1 name, $2 host name, $3 process id, $4 version, $5 messages sent, $6 messages failed since the start
WITH gone AS (
    DELETE FROM matrix_worker WHERE last_seen < now() AT TIME ZONE 'UTC' - interval '1 day' AND name <> $1
)
INSERT INTO matrix_worker AS w (name, hostname, pid, version, sent_total, failed_total)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO UPDATE SET
    hostname = excluded.hostname, pid = excluded.pid, version = excluded.version, last_seen = excluded.last_seen,
    sent_total = excluded.sent_total, failed_total = excluded.failed_total,
    started_at = CASE WHEN w.pid = excluded.pid AND w.hostname = excluded.hostname THEN w.started_at ELSE excluded.started_at END
