-- Whether a message waits behind another one of its lane.
--
-- $1 lane, $2 message id
SELECT EXISTS (SELECT FROM matrix_outbox AS o WHERE o.lane = $1::text AND o.id > $2::bigint)
