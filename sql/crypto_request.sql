-- Whether somebody has asked in Odoo to set up encryption.
--
-- $1 backend
SELECT EXISTS (SELECT FROM matrix_crypto_request AS r WHERE r.backend_id = $1) AS is_asked
