-- How many rows of the outbox were deleted and not yet vacuumed, and how many there are, according to the server's statistics.
SELECT COALESCE(s.n_dead_tup, 0) AS dead, COALESCE(s.n_live_tup, 0) AS live,
    to_char(GREATEST(s.last_autovacuum, s.last_vacuum) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') AS vacuumed
FROM pg_stat_all_tables AS s
WHERE s.relid = to_regclass('matrix_outbox')
