-- Which of some messages may be sent unencrypted to an encrypted room, as their record allows it now.
--
-- $1 message ids
SELECT o.id FROM matrix_outbox AS o
WHERE o.id = ANY ($1::bigint[]) AND o.res_id IS NOT NULL AND matrix_consents(o.res_model, o.res_id, o.room_id)
