-- The configuration of every active backend.
SELECT b.id, b.name, b.homeserver_url, b.token_sealed, COALESCE(b.verify_ssl, true) AS verify_ssl,
    COALESCE(b.hold_on_outage, true) AS hold_on_outage, b.config_version,
    b.database_identity IS NOT DISTINCT FROM matrix_database_identity() AS is_at_home
FROM matrix_backend AS b
WHERE b.is_active
ORDER BY b.id
