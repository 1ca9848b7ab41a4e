-- Let other workers change the account's list of direct rooms.
--
-- $1 the account's Matrix user ID
-- Returns whether the session held the lock.
SELECT pg_advisory_unlock(1836348026, hashtext($1))
