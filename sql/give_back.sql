-- Give back lanes without a result, when a worker is stopped before it has finished. Lanes taken over by a newer lease stay unchanged.
--
-- $1 owner, $2 lanes, $3 epochs
UPDATE matrix_lane AS l
SET lease_until = NULL
FROM unnest($2::text[], $3::bigint[]) AS held (lane, epoch)
WHERE l.lane = held.lane AND l.epoch = held.epoch AND l.owner = $1
