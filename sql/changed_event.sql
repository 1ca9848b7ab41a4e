-- The event that a message changes: what the homeserver made of the message whose transaction id stands in its content.
-- Both are of the same record, so that matrix_log_res_idx finds it.
--
-- $1 id of the message that changes it
-- No row when that one never arrived.
SELECT l.matrix_event_id, l.room_id
FROM matrix_outbox AS o
JOIN matrix_log AS l ON l.res_model = o.res_model AND l.res_id = o.res_id
WHERE o.id = $1 AND l.status = 'ok' AND l.txn_id = o.content ->> 'org.odoo.changes' AND l.matrix_event_id IS NOT NULL
