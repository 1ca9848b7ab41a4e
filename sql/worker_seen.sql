-- The heartbeat. Rows not renewed for a day are deleted, and those of workers that ran beside another one of the same name sooner.
--
-- $1 the name that this process is listed by, $2 host name, $3 process id, $4 version, $5 messages sent and $6 failed since the start,
-- $7 the owner of its lanes, <name>/<incarnation>, by which it may have been listed before
-- Returns whether a worker was seen at a time that is in the future: then the clock was set back.
WITH clock AS (
    SELECT EXISTS (SELECT FROM matrix_worker AS w WHERE w.last_seen > now() AT TIME ZONE 'UTC' + interval '5 s') AS is_set_back
), gone AS (
    DELETE FROM matrix_worker AS w
    WHERE w.name <> $1 AND (
        w.last_seen < now() AT TIME ZONE 'UTC' - interval '1 day'
        OR w.name = $7
        OR (starts_with(w.name, split_part($7, '/', 1) || '/') AND w.last_seen < now() AT TIME ZONE 'UTC' - interval '2 minutes')
    )
)
INSERT INTO matrix_worker AS w (name, hostname, pid, version, sent_total, failed_total)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO UPDATE SET
    hostname = excluded.hostname, pid = excluded.pid, version = excluded.version, last_seen = excluded.last_seen,
    sent_total = excluded.sent_total, failed_total = excluded.failed_total,
    started_at = CASE WHEN w.pid = excluded.pid AND w.hostname = excluded.hostname THEN w.started_at ELSE excluded.started_at END
RETURNING (SELECT is_set_back FROM clock)
