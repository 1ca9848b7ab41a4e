-- Take the request to set up encryption: it is deleted before its secret is used.
--
-- $1 backend, $2 owner, $3 epoch of the keys, $4 for how many seconds a request is valid, $5 version of the configuration, as in
-- sql/crypto_request.sql, $6 when it was asked for, from there
WITH gone AS (
    DELETE FROM matrix_crypto_request AS r
    USING matrix_crypto AS c, matrix_backend AS b
    WHERE r.backend_id = $1 AND b.id = r.backend_id AND COALESCE(b.config_version, 0) = $5 AND c.backend_id = r.backend_id AND c.owner = $2 AND c.epoch = $3
        -- If this waits for a transaction of Odoo that replaces the request, PostgreSQL compares the new request with the configuration from
        -- before: only a column of the request itself shows that it is another one.
        AND r.requested_at = $6
    RETURNING r.backend_id, r.kind, r.secret_sealed, r.requested_at
), noted AS (
    UPDATE matrix_crypto AS c
    SET setup_state = 'running', setup_reason = NULL, setup_at = now() AT TIME ZONE 'UTC', written_by = txid_current()
    FROM gone WHERE c.backend_id = gone.backend_id
)
SELECT gone.kind, gone.secret_sealed,
    gone.requested_at < now() AT TIME ZONE 'UTC' - $4::integer * interval '1 second' AS is_expired
FROM gone
