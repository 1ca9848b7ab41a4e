-- Wait until no other worker changes the account's list of direct rooms, and keep others from it for as long as the session
-- holds the lock. The homeserver can only replace the list as a whole. The first key is the one after that of the workers' names.
--
-- $1 the account's Matrix user ID
SELECT pg_advisory_lock(1836348026, hashtext($1))
