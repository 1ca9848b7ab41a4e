-- A clean stop.
--
-- $1 name, $2 process id
DELETE FROM matrix_worker WHERE name = $1 AND pid = $2
