-- What `check` asks the server: our role, its clock, and whether new messages wake the workers.
SELECT current_user::text AS role, current_database()::text AS database, current_setting('server_version') AS version,
    (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) AS is_superuser,
    EXTRACT(EPOCH FROM clock_timestamp())::double precision AS clock_seconds,
    EXISTS (
        SELECT FROM pg_trigger AS t
        WHERE t.tgrelid = to_regclass('matrix_outbox') AND t.tgname = 'matrix_outbox_notify' AND t.tgenabled IN ('O', 'A')
    ) AS wakes_workers
