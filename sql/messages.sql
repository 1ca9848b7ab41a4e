-- The first messages of those lanes that the owner holds: the head of each lane, and further messages until the number or the bytes
-- reach their limit.
--
-- $1 owner, $2 lanes, $3 messages per lane at most; each of them is decompressed to be measured,
-- $4 age in ms beyond which the homeserver does not know, or may have forgotten, the transaction ids,
-- $5 bytes of content per lane after which no further message is returned
-- Rows come in no particular order: sort by id.
SELECT o.lane, o.id, o.room_id, o.matrix_user_id, o.matrix_type, o.content, o.may_be_unencrypted, o.changes, o.opens_thread, o.txn_id,
    o.is_expired, o.is_past_dedup, o.event_type, o.queued_seconds, o.has_file
FROM matrix_lane AS l
CROSS JOIN LATERAL (
    SELECT o.*,
        sum(octet_length(o.content)) OVER (ORDER BY o.lane, o.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
    FROM (
        SELECT o.lane, o.id, o.room_id, o.matrix_user_id, o.matrix_type, o.content::text AS content, o.txn_id,
            o.content @> '{"org.odoo.unencrypted": true}' AS may_be_unencrypted,
            o.content ->> 'org.odoo.changes' AS changes,
            CASE WHEN o.content ? 'org.odoo.thread' THEN o.content -> 'org.odoo.thread' ? o.event_type END AS opens_thread,
            COALESCE(o.expires_at <= now() AT TIME ZONE 'UTC', false) AS is_expired,
            o.queued_at < now() AT TIME ZONE 'UTC' - $4::bigint * interval '1 ms' AS is_past_dedup,
            o.event_type, EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - o.queued_at)::double precision AS queued_seconds,
            o.attachment_id IS NOT NULL AS has_file
        FROM matrix_outbox AS o
        -- Not `lane = … ORDER BY id`: with statistics of a moment with few lanes, the planner would look for the lane's messages
        -- along the primary key, past those of all others.
        WHERE o.lane >= l.lane AND o.lane <= l.lane
        ORDER BY o.lane, o.id
        LIMIT $3::integer
    ) AS o
) AS o
-- Not through the index on owners, which contains every lane that this owner ever had.
WHERE l.lane = ANY ($2::text[]) AND l.owner IS NOT DISTINCT FROM $1 AND l.lease_until IS NOT NULL
    AND (o.bytes_before IS NULL OR o.bytes_before < $5::integer)
