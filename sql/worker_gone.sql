-- Remove the heartbeat row at a clean stop.
--
-- $1 name, $2 owner of the lanes: this process is listed by one of them; $3 host name, $4 process id
DELETE FROM matrix_worker WHERE name IN ($1, $2) AND hostname = $3 AND pid = $4
