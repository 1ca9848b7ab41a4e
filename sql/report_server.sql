-- The time by the server's clock, how full its queue of notifications is, from 0 to 1, and whether this role may see how long the
-- transactions of others have been running.
SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS now, pg_notification_queue_usage() AS queue_usage,
    pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all
