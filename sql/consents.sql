-- Which of some messages may be sent unencrypted to an encrypted room, as their record and its backend allow it now.
--
-- $1 message ids
SELECT o.id FROM matrix_outbox AS o
JOIN matrix_backend AS b ON b.id = o.backend_id
-- Once encryption is set up, consent no longer counts, even if this worker cannot encrypt. The previous contract has no such setting.
WHERE o.id = ANY ($1::bigint[]) AND o.res_id IS NOT NULL AND to_jsonb(b) ->> 'encryption_mode' IS DISTINCT FROM 'encrypt'
    AND matrix_consents(o.res_model, o.res_id, o.room_id)
