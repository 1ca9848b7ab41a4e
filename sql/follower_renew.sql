-- Renew the lease of an account that is followed; returns no row if another worker has taken it over.
--
-- $1 backend, $2 owner, $3 epoch, $4 lease in ms
UPDATE matrix_follower
SET lease_until = now() AT TIME ZONE 'UTC' + $4::integer * interval '1 ms'
WHERE backend_id = $1 AND owner = $2 AND epoch = $3 AND lease_until IS NOT NULL
RETURNING backend_id
