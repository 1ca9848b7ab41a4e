-- A request to replace the account's signing keys may have no secret: the homeserver asks an application service for no password.
-- Locks: matrix_crypto_request
ALTER TABLE matrix_crypto_request
    DROP CONSTRAINT IF EXISTS matrix_crypto_request_sealed,
    ADD CONSTRAINT matrix_crypto_request_sealed CHECK (CASE WHEN kind = 'new_device' THEN secret_sealed IS NULL
        WHEN secret_sealed IS NULL THEN kind = 'reset' ELSE secret_sealed LIKE 'fernet:%' END);
