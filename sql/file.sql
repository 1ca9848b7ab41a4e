-- What is known about the file of a message: where to fetch it from Odoo, the present time for the request, and its address on the
-- homeserver, if it has one. An address of another account, or from before the account was last configured, is ignored.
--
-- $1 message id, $2 its lane
-- Returns no row if the message is gone.
WITH message AS MATERIALIZED (
    SELECT o.txn_id, o.backend_id FROM matrix_outbox AS o WHERE o.id = $1 AND o.lane = $2
)
SELECT b.files_url, current_database()::text AS database, EXTRACT(EPOCH FROM now())::bigint AS now, u.content_uri, COALESCE(u.is_uploaded, false) AS is_uploaded,
    -- The previous contract has no such column.
    to_jsonb(u) ->> 'file_sealed' AS file_sealed
FROM message AS o
JOIN matrix_backend AS b ON b.id = o.backend_id
-- A plain join may read the whole table.
LEFT JOIN LATERAL (SELECT u.* FROM matrix_upload AS u WHERE u.txn_id = o.txn_id OFFSET 0) AS u
    ON u.backend_id = o.backend_id AND u.date >= COALESCE(b.configured_at, '-infinity')
