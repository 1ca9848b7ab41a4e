-- Store the address of a message's file on the homeserver together with its key: without the key, an encrypted file would be taken for one
-- that is not. Stores nothing once a newer lease has taken over the lane.
--
-- $1 owner, $2 lane, $3 epoch, $4 message id, $5 its address on the homeserver, $6 whether the homeserver has the file
-- $7 the sealed key and hash; NULL: the file is not encrypted, and the one before was
INSERT INTO matrix_upload AS u (txn_id, backend_id, content_uri, is_uploaded, file_sealed)
SELECT o.txn_id, o.backend_id, $5::text, $6::boolean, $7::text
FROM matrix_lane AS l
JOIN matrix_outbox AS o ON o.lane = l.lane
-- A worker that takes over the lane meanwhile waits, and then finds what is stored here.
WHERE l.lane = $2 AND l.epoch = $3 AND l.owner = $1 AND o.id = $4
FOR SHARE OF l
ON CONFLICT (txn_id) DO UPDATE SET backend_id = excluded.backend_id, content_uri = excluded.content_uri, is_uploaded = excluded.is_uploaded,
    file_sealed = excluded.file_sealed, date = excluded.date
RETURNING u.id
