-- Renew the leases that are still ours, all in one statement. A lane that does not come back was taken over.
--
-- $1 owner, $2 lanes, $3 epochs, $4 lease in ms
UPDATE matrix_lane AS l
SET lease_until = now() AT TIME ZONE 'UTC' + $4::integer * interval '1 ms'
FROM unnest($2::text[], $3::bigint[]) AS held (lane, epoch)
WHERE l.lane = held.lane AND l.epoch = held.epoch AND l.owner = $1 AND l.lease_until IS NOT NULL
RETURNING l.lane, l.epoch
