-- Remember the event with which the thread of a message's record begins in a room.
--
-- $1 id of the message, $2 its lane, $3 the room, $4 the event
INSERT INTO matrix_thread AS t (res_model, res_id, room_id, root_event_id)
SELECT o.res_model, o.res_id, $3::text, $4::text FROM matrix_outbox AS o
WHERE o.id = $1 AND o.lane = $2 AND o.res_model IS NOT NULL AND o.res_id IS NOT NULL
ON CONFLICT (res_model, res_id, room_id) DO UPDATE SET root_event_id = excluded.root_event_id
