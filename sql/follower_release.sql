-- Give back an account: another worker may follow it at once. Changes nothing once a newer lease has taken over.
--
-- $1 backend, $2 owner, $3 epoch
UPDATE matrix_follower SET lease_until = NULL WHERE backend_id = $1 AND owner = $2 AND epoch = $3
