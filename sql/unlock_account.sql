-- Let other workers change the account's list of direct rooms.
--
-- $1 key of the lists' locks, $2 the account's Matrix user ID
-- Returns whether the session held the lock.
SELECT pg_advisory_unlock($1::integer, hashtext($2))
