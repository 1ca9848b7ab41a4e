-- Wait until no other worker is changing the account's list of direct rooms, and keep others from doing so for as long as the
-- session holds the lock. The homeserver can only replace the list as a whole.
--
-- $1 key of the lists' locks, $2 the account's Matrix user ID
SELECT pg_advisory_lock($1::integer, hashtext($2))
