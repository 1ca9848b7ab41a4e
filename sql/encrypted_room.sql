-- Remember that a room is encrypted.
--
-- $1 the backend, $2 the room
INSERT INTO matrix_encrypted_room (backend_id, room_id) VALUES ($1, $2) ON CONFLICT DO NOTHING
