-- Renew the leases that are still ours, all in one statement. A lane that does not come back was taken over.
--
-- $1 owner, $2 lanes, $3 epochs, $4 lease in ms
UPDATE matrix_lane AS l
SET lease_until = now() AT TIME ZONE 'UTC' + $4::integer * interval '1 ms'
FROM unnest($2::text[], $3::bigint[]) AS held (lane, epoch)
-- Named twice, so that no join can take the way over all lanes; and not by the index on owners, which knows all lanes that this
-- one ever had.
WHERE l.lane = ANY ($2::text[]) AND l.lane = held.lane AND l.epoch = held.epoch AND l.owner IS NOT DISTINCT FROM $1
    AND l.lease_until IS NOT NULL
RETURNING l.lane, l.epoch
