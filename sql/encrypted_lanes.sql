-- Those lanes whose room was encrypted once, whatever the homeserver says now.
--
-- $1 the backend, $2 lanes of it
SELECT u.lane
FROM unnest($2::text[]) AS u (lane)
LEFT JOIN LATERAL (SELECT l.room_id FROM matrix_lane AS l WHERE l.lane = u.lane OFFSET 0) AS l ON true
CROSS JOIN LATERAL (
    SELECT e.id FROM matrix_encrypted_room AS e
    -- The part of a lane's name after the first slash is a room, or a person whose room the lane knows.
    WHERE e.backend_id = $1::integer AND e.room_id = COALESCE(l.room_id, substr(u.lane, strpos(u.lane, '/') + 1))
    OFFSET 0
) AS e
