-- Write whether the keys may be used, and why not. The state 'moved' is never changed.
--
-- $1 backend, $2 owner, $3 epoch of the keys, $4 state, $5 reason
UPDATE matrix_crypto
SET state = $4, reason = $5, changed_at = CASE WHEN state = $4 THEN changed_at ELSE now() AT TIME ZONE 'UTC' END,
    written_by = txid_current()
WHERE backend_id = $1 AND owner = $2 AND epoch = $3 AND state <> 'moved' AND (state, reason) IS DISTINCT FROM ($4::text, $5::text)
