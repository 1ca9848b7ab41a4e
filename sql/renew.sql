-- Renew the leases that are still ours, all in one statement, except for lanes that are locked at the moment: a completion that
-- takes long, or a row that somebody has locked by hand, must not make us lose all other leases.
--
-- $1 owner, $2 lanes, $3 epochs, $4 lease in ms
-- Returns one row per lane that is ours, with whether it was renewed; if it was not, try again soon. A lane that is not returned
-- was taken over.
WITH ours AS MATERIALIZED (
    SELECT held.lane, held.epoch
    FROM unnest($2::text[], $3::bigint[]) AS held (lane, epoch)
    CROSS JOIN LATERAL (
        SELECT 1 FROM matrix_lane AS l
        -- Not through the index on owners, which contains every lane that this owner ever had.
        WHERE l.lane = held.lane AND l.epoch = held.epoch AND l.owner IS NOT DISTINCT FROM $1 AND l.lease_until IS NOT NULL
        OFFSET 0
    ) AS l
), free AS MATERIALIZED (
    SELECT l.id, ours.lane
    -- All writers lock lanes in this order, so two of them cannot block each other.
    FROM (SELECT ours.lane, ours.epoch FROM ours ORDER BY ours.lane) AS ours
    CROSS JOIN LATERAL (
        SELECT l.id FROM matrix_lane AS l
        WHERE l.lane = ours.lane AND l.epoch = ours.epoch AND l.owner IS NOT DISTINCT FROM $1 AND l.lease_until IS NOT NULL
        FOR UPDATE SKIP LOCKED
    ) AS l
), renewed AS (
    -- Each of these lanes exists and is locked, so this never inserts. A join would compare every lane with every other one.
    INSERT INTO matrix_lane (id, lane, lease_until)
    SELECT free.id, free.lane, now() AT TIME ZONE 'UTC' + $4::integer * interval '1 ms' FROM free
    ON CONFLICT (lane) DO UPDATE SET lease_until = excluded.lease_until
)
SELECT ours.lane, ours.epoch, ours.lane IN (SELECT free.lane FROM free) AS is_renewed FROM ours
