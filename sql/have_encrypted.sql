-- The active backends with rooms that were encrypted once.
SELECT b.id FROM matrix_backend AS b
WHERE b.is_active AND EXISTS (SELECT FROM matrix_encrypted_room AS e WHERE e.backend_id = b.id)
