-- The session that holds the oldest snapshot of this database, if it has held it for long: vacuum cannot remove what was deleted
-- since, and claims become slow.
--
-- $1 seconds; $2 transactions: what counts as long if this role may not see how long the session's transaction has been running
-- xact_seconds and query_start are NULL in that case: reading them needs pg_read_all_stats.
SELECT a.pid, a.application_name, age(a.backend_xmin)::bigint AS transactions,
    EXTRACT(EPOCH FROM now() - a.xact_start)::double precision AS xact_seconds,
    to_char(a.query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS query_start
FROM pg_stat_activity AS a
WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()
    -- The feedback of a replica belongs to no database and holds back vacuum in all of them.
    AND (a.datname IS NULL OR a.datname = current_database())
    AND CASE
        WHEN a.xact_start IS NULL THEN age(a.backend_xmin) >= $2::bigint
        ELSE a.xact_start < now() - $1::double precision * interval '1 s'
    END
ORDER BY age(a.backend_xmin) DESC, a.pid
LIMIT 1
