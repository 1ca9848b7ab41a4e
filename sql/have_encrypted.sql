-- The active backends with rooms that were encrypted once. LIMIT keeps the planner from reading all of these rooms.
SELECT b.id FROM matrix_backend AS b
CROSS JOIN LATERAL (SELECT FROM matrix_encrypted_room AS e WHERE e.backend_id = b.id LIMIT 1) AS encrypted
WHERE b.is_active
