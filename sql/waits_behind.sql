-- Whether a message waits behind another one of its lane.
--
-- $1 lane, $2 message id
-- A range of the index (lane, id): `lane = … AND id > …` might be read along the primary key, past the messages of all other lanes.
SELECT EXISTS (SELECT FROM matrix_outbox AS o WHERE (o.lane, o.id) > ($1::text, $2::bigint) AND o.lane <= $1::text)
