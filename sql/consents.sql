-- Those of some messages whose record allows now that they are sent unencrypted to an encrypted room.
--
-- $1 message ids
SELECT o.id FROM matrix_outbox AS o
WHERE o.id = ANY ($1::bigint[]) AND o.res_id IS NOT NULL AND matrix_consents(o.res_model, o.res_id, o.room_id)
