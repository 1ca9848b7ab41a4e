-- Write what people see of the device, and how the request to set it up has ended. A request that a former worker took and did not finish
-- has failed.
--
-- $1 backend, $2 owner, $3 epoch of the keys, $4 the fingerprint, $5 signature and $6 why it is missing; NULL: as before
-- $7 how the request has ended, $8 why it has failed; NULL: there was none
UPDATE matrix_crypto AS c
SET fingerprint = COALESCE($4, c.fingerprint), signature = COALESCE($5, c.signature),
    signature_reason = CASE WHEN $5::text IS NULL THEN c.signature_reason ELSE $6::text END,
    setup_state = ended.setup_state, setup_reason = ended.setup_reason, written_by = txid_current()
FROM (
    SELECT COALESCE($7::text, CASE b.setup_state WHEN 'running' THEN 'failed' ELSE b.setup_state END) AS setup_state,
        CASE WHEN $7 IS NOT NULL THEN $8::text
            WHEN b.setup_state = 'running' THEN 'the worker was stopped while it set up encryption: set it up again' ELSE b.setup_reason
        END AS setup_reason
    FROM matrix_crypto AS b WHERE b.backend_id = $1
) AS ended
WHERE c.backend_id = $1 AND c.owner = $2 AND c.epoch = $3
