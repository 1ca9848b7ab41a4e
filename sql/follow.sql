-- Lease the accounts that are set up to be followed and that nobody follows, read the configuration of each, and forget those that
-- are no longer set up for it. Each lease increments the epoch, which fences everything that is written later.
--
-- $1 owner, $2 lease in ms, $3 whether this worker can encrypt, $4 whether it passes on what is written, $5 for how many seconds Odoo
-- certainly recognises what the homeserver has sent it
-- Returns one row per account to be followed; epoch, since and account are NULL if it was not leased just now, and free_seconds says
-- when it may be.
WITH asks AS MATERIALIZED (
    SELECT b.id, b.homeserver_url, b.token_sealed, COALESCE(b.verify_ssl, true) AS verify_ssl, b.config_version, b.inbound_url,
        b.inbound_secret_sealed, COALESCE(b.inbound_mode = 'follow', false) AS wants_events, keys.wants_missing, keys.encrypts, keys.only_verified
    FROM matrix_backend AS b
    -- A device that encrypts has to follow its account: only /sync tells it about the devices of others. The previous contract has no such
    -- settings.
    CROSS JOIN LATERAL (
        SELECT $3::boolean AND COALESCE(to_jsonb(b) ->> 'encryption_mode' = 'encrypt', false) AS encrypts,
            COALESCE(to_jsonb(b) ->> 'encryption_devices' = 'verified', false) AS only_verified,
            -- What is encrypted comes from the homeserver as it is.
            COALESCE(b.inbound_mode = 'appservice' AND to_jsonb(b) ->> 'encryption_mode' IS DISTINCT FROM 'encrypt', false) AS wants_missing
    ) AS keys
    -- A copy of the database would receive the original's messages.
    WHERE b.is_active AND ((b.inbound_mode = 'follow' OR keys.wants_missing) AND $4::boolean OR keys.encrypts)
        AND b.database_identity IS NOT DISTINCT FROM matrix_database_identity()
), forgotten AS (
    -- What is written in rooms while following is turned off is not meant for Odoo. An account that is only inactive keeps its position.
    DELETE FROM matrix_follower AS f
    WHERE NOT EXISTS (SELECT FROM matrix_backend AS b WHERE b.id = f.backend_id AND b.inbound_mode IN ('follow', 'appservice'))
        -- This worker, or another one, follows it for its keys.
        AND f.backend_id NOT IN (SELECT id FROM asks)
        AND NOT (
            -- Neither is set while nobody follows it.
            COALESCE(f.owner <> $1::text AND f.lease_until > now() AT TIME ZONE 'UTC', false) AND EXISTS (
                SELECT FROM matrix_backend AS b WHERE b.id = f.backend_id AND to_jsonb(b) ->> 'encryption_mode' = 'encrypt'
            )
        )
), leased AS (
    INSERT INTO matrix_follower AS f (backend_id, owner, epoch, lease_until)
    SELECT asks.id, $1::text, 1, now() AT TIME ZONE 'UTC' + $2::integer * interval '1 ms' FROM asks ORDER BY asks.id
    ON CONFLICT (backend_id) DO UPDATE SET owner = excluded.owner, epoch = f.epoch + 1, lease_until = excluded.lease_until,
        since = (
            SELECT f.since FROM asks WHERE asks.id = f.backend_id AND (
                asks.wants_events
                OR asks.wants_missing AND f.synced_at > now() AT TIME ZONE 'UTC' - $5::integer * interval '1 s'
            )
        )
    WHERE f.lease_until IS NULL OR f.lease_until < now() AT TIME ZONE 'UTC'
    RETURNING f.backend_id, f.epoch, f.since, f.matrix_user_id
)
SELECT asks.id AS backend_id, asks.homeserver_url, asks.token_sealed, asks.verify_ssl, asks.config_version, asks.inbound_url,
    asks.inbound_secret_sealed, asks.wants_events, asks.wants_missing, asks.encrypts, asks.only_verified, current_database()::text AS database,
    leased.epoch, leased.since, leased.matrix_user_id,
    EXTRACT(EPOCH FROM held.lease_until - now() AT TIME ZONE 'UTC')::double precision AS free_seconds
FROM asks
LEFT JOIN leased ON leased.backend_id = asks.id
LEFT JOIN matrix_follower AS held ON held.backend_id = asks.id AND held.owner <> $1::text AND leased.backend_id IS NULL
ORDER BY asks.id
