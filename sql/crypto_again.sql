-- Start again with another device: the keys of the former one are dropped. The account's signing keys stay, unless it is another account.
--
-- $1 backend, $2 owner, $3 epoch of the keys, $4 the account, $5 its device
WITH before AS MATERIALIZED (
    SELECT c.backend_id, c.matrix_user_id = $4::text AS is_same_account
    FROM matrix_crypto AS c WHERE c.backend_id = $1 AND c.owner = $2 AND c.epoch = $3
    FOR UPDATE
), dropped AS (
    DELETE FROM matrix_crypto_item AS i USING before
    WHERE i.backend_id = before.backend_id AND NOT (i.kind = 'identity' AND before.is_same_account)
)
UPDATE matrix_crypto AS c
SET matrix_user_id = $4, device_id = $5, state = 'ok', reason = NULL, changed_at = now() AT TIME ZONE 'UTC',
    database_identity = matrix_database_identity(), timeline_id = (SELECT control.timeline_id FROM pg_control_checkpoint() AS control),
    written_by = txid_current(), fingerprint = NULL, signature = NULL, signature_reason = NULL
FROM before WHERE c.backend_id = before.backend_id
RETURNING c.backend_id
