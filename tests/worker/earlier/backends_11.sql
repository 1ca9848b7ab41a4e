-- The configuration of every active backend.
SELECT b.id, b.name, b.homeserver_url, b.token_sealed, COALESCE(b.verify_ssl, true) AS verify_ssl,
    COALESCE(b.hold_on_outage, true) AS hold_on_outage, b.config_version,
    b.database_identity IS NOT DISTINCT FROM matrix_database_identity() AS is_at_home,
    -- NULL with the previous contract, which has no such column.
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - (to_jsonb(b) ->> 'configured_at')::timestamp)::double precision AS configured_seconds,
    COALESCE(to_jsonb(b) ->> 'encryption_mode' = 'encrypt', false) AS encrypts,
    COALESCE((to_jsonb(b) ->> 'encrypt_new_rooms')::boolean, false) AS encrypts_new_rooms
FROM matrix_backend AS b
WHERE b.is_active
ORDER BY b.id
