-- Whether somebody has asked in Odoo to set up encryption. A request that came with a newer configuration is for the worker that has read that:
-- its device may be another one.
--
-- $1 backend, $2 version of the configuration
-- Returns when it was asked for; no row: it was not.
SELECT r.requested_at
FROM matrix_crypto_request AS r JOIN matrix_backend AS b ON b.id = r.backend_id
WHERE r.backend_id = $1 AND COALESCE(b.config_version, 0) = $2
