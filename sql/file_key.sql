-- Store the sealed key and hash of an encrypted file with its address. Stores nothing once a newer lease has taken over the lane.
--
-- $1 owner, $2 lane, $3 epoch, $4 message id, $5 its address on the homeserver, $6 the sealed key
UPDATE matrix_upload AS u
SET file_sealed = $6
WHERE u.content_uri = $5 AND u.txn_id = (
    SELECT o.txn_id
    FROM matrix_lane AS l
    CROSS JOIN LATERAL (SELECT m.txn_id FROM matrix_outbox AS m WHERE m.lane = l.lane AND m.id = $4 OFFSET 0) AS o
    WHERE l.lane = $2 AND l.epoch = $3 AND l.owner = $1
)
RETURNING u.id
