-- The event with which the thread of a message's record begins in a room. A record that is older than its backend's threads has it in
-- the log only: there it is the newest event of one of the kinds that the message names. Written in separate steps, because a planner
-- whose statistics say that the tables are empty would read all of the log first.
--
-- $1 id of the message, $2 its lane, $3 the room
-- Returns no row if the record has no thread there.
WITH message AS MATERIALIZED (
    SELECT o.res_model, o.res_id, o.content -> 'org.odoo.thread' AS openings FROM matrix_outbox AS o
    WHERE o.id = $1 AND o.lane = $2
), kept AS MATERIALIZED (
    SELECT t.root_event_id
    FROM message
    CROSS JOIN LATERAL (
        SELECT t.root_event_id FROM matrix_thread AS t
        WHERE t.res_model = message.res_model AND t.res_id = message.res_id AND t.room_id = $3
        OFFSET 0
    ) AS t
), logged AS MATERIALIZED (
    SELECT l.id, l.matrix_event_id
    FROM message
    CROSS JOIN LATERAL (
        SELECT l.id, l.matrix_event_id FROM matrix_log AS l
        WHERE l.res_model = message.res_model AND l.res_id = message.res_id
            AND message.openings ? l.event_type AND l.status = 'ok' AND l.room_id = $3 AND l.matrix_event_id IS NOT NULL
        OFFSET 0
    ) AS l
    WHERE NOT EXISTS (SELECT FROM kept)
)
SELECT kept.root_event_id, true AS is_kept FROM kept
UNION ALL
(SELECT logged.matrix_event_id, false FROM logged ORDER BY logged.id DESC LIMIT 1)
