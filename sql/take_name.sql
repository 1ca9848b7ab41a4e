-- Hold this worker's name for as long as the session lives.
--
-- $1 key of the names' locks, $2 name
SELECT pg_try_advisory_lock($1::integer, hashtext($2))
