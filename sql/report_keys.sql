-- What `status` and `check` show about the device of each account that is to encrypt.
SELECT b.id, b.name, c.device_id, c.fingerprint, c.state, c.signature,
    -- Why it cannot be used, or not by everybody.
    COALESCE(CASE c.setup_state WHEN 'failed' THEN c.setup_reason END, c.reason, c.signature_reason) AS reason,
    COALESCE(c.setup_state, '') = 'failed' AS is_failed,
    COALESCE(c.setup_state, '') = 'running' OR EXISTS (SELECT FROM matrix_crypto_request AS r WHERE r.backend_id = b.id) AS is_asked,
    COALESCE(f.lease_until > now() AT TIME ZONE 'UTC', false) AS is_held,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - f.synced_at)::double precision AS synced_seconds
FROM matrix_backend AS b
LEFT JOIN matrix_crypto AS c ON c.backend_id = b.id
LEFT JOIN matrix_follower AS f ON f.backend_id = b.id
WHERE b.is_active AND b.encryption_mode = 'encrypt'
ORDER BY b.id
