-- Hold this worker's name for as long as the session lives. The first key is the one after that of the wake-up's gate.
--
-- $1 name
SELECT pg_try_advisory_lock(1836348025, hashtext($1))
