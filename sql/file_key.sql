-- Store the sealed key and hash of an encrypted file with its address. Stores nothing once a newer lease has taken over the lane.
--
-- $1 owner, $2 lane, $3 epoch, $4 message id, $5 its address on the homeserver, $6 the sealed key
UPDATE matrix_upload AS u
SET file_sealed = $6
FROM matrix_outbox AS o
JOIN matrix_lane AS l ON l.lane = o.lane
WHERE l.lane = $2 AND l.epoch = $3 AND l.owner = $1 AND o.id = $4 AND u.txn_id = o.txn_id AND u.content_uri = $5
RETURNING u.id
