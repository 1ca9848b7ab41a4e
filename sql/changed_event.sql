-- The event that a message changes: the event of the earlier message whose transaction id is in its content. Both belong to the
-- same record, so matrix_log_res_idx finds it. Written in separate steps, because a planner whose statistics say that the tables
-- are empty would read all of the log first.
--
-- $1 id of the message that changes the event, $2 its lane
-- Returns no row if the earlier message never arrived.
WITH change AS MATERIALIZED (
    SELECT o.res_model, o.res_id, o.content ->> 'org.odoo.changes' AS txn_id FROM matrix_outbox AS o
    WHERE o.id = $1 AND o.lane = $2
)
SELECT l.matrix_event_id, l.room_id
FROM change
CROSS JOIN LATERAL (
    SELECT l.matrix_event_id, l.room_id FROM matrix_log AS l
    WHERE l.res_model = change.res_model AND l.res_id = change.res_id
        AND l.status = 'ok' AND l.txn_id = change.txn_id AND l.matrix_event_id IS NOT NULL
    OFFSET 0
) AS l
