-- How full the server's queue of notifications is, from 0 to 1, and whether this role may see since when others' transactions run.
SELECT pg_notification_queue_usage() AS queue_usage, pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all
