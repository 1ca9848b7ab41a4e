-- What `status` and `check` show about each account that is to be followed for what is written there: the same accounts as in
-- sql/follow.sql, without those that are followed only for their keys.
SELECT b.id, b.name, b.inbound_mode = 'appservice' AND to_jsonb(b) ->> 'encryption_mode' IS DISTINCT FROM 'encrypt' AS is_pushed, f.owner,
    COALESCE(f.lease_until > now() AT TIME ZONE 'UTC', false) AS is_followed, COALESCE(f.state, 'stopped') AS state, f.reason,
    f.forwarded_total,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - f.changed_at)::double precision AS state_seconds,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - f.synced_at)::double precision AS synced_seconds,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - f.forwarded_at)::double precision AS forwarded_seconds
FROM matrix_backend AS b LEFT JOIN matrix_follower AS f ON f.backend_id = b.id
WHERE b.is_active AND b.inbound_mode IN ('follow', 'appservice')
ORDER BY b.id
