-- Every backend, active or not.
SELECT b.id, b.name FROM matrix_backend AS b ORDER BY b.id
