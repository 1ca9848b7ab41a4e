-- Release the accounts that an earlier process of the same name followed. Only for the holder of that name's advisory lock: the
-- earlier process is dead.
--
-- $1 prefix of the owners that the name has had, $2 our own owner
UPDATE matrix_follower
SET lease_until = NULL
WHERE starts_with(owner, $1) AND owner <> $2 AND lease_until IS NOT NULL
RETURNING backend_id
