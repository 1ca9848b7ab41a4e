-- What must be kept for the device.
--
-- $1 backend, $2 owner, $3 epoch of the keys
-- Returns at least one row, perhaps without a kind, if the keys are ours; no row if another worker has taken them.
SELECT i.kind, i.key, i.sealed
FROM matrix_crypto AS c LEFT JOIN matrix_crypto_item AS i ON i.backend_id = c.backend_id
WHERE c.backend_id = $1 AND c.owner = $2 AND c.epoch = $3
