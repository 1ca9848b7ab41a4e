-- Lease the accounts that are set up to be followed and that nobody follows, read the configuration of each, and forget those that
-- are no longer set up for it. Each lease increments the epoch, which fences everything that is written later.
--
-- $1 owner, $2 lease in ms, $3 whether this worker can encrypt, $4 whether it passes on what is written, $5 for how many seconds Odoo
-- certainly recognises what the homeserver has sent it
-- Returns one row per account to be followed; epoch, since and account are NULL if it was not leased just now, and free_seconds says
-- when it may be.
WITH asks AS MATERIALIZED (
    SELECT b.id, b.homeserver_url, b.token_sealed, COALESCE(b.verify_ssl, true) AS verify_ssl, b.config_version, b.inbound_url,
        b.inbound_secret_sealed,
        -- As in sql/backends.sql: messages are sent as the device that hears about the devices of others.
        to_jsonb(b) ->> 'appservice_user_id' AS acting_user, to_jsonb(b) ->> 'appservice_device_id' AS acting_device,
        COALESCE(to_jsonb(b) ->> 'appservice_token_sealed', b.token_sealed) AS acting_token,
        mode.is_pushed, mode.follows OR mode.is_pushed AND mode.is_secret AS wants_events,
        mode.is_pushed AND NOT mode.is_secret AS wants_missing, $3::boolean AND mode.is_secret AS encrypts,
        COALESCE(to_jsonb(b) ->> 'encryption_devices' = 'verified', false) AS only_verified
    FROM matrix_backend AS b
    -- A device that encrypts has to follow its account: only /sync tells it about the devices of others. What is encrypted comes from the
    -- homeserver as it is, so then the worker passes on everything. The previous contract has no such settings.
    CROSS JOIN LATERAL (
        SELECT COALESCE(b.inbound_mode = 'follow', false) AS follows, COALESCE(b.inbound_mode = 'appservice', false) AS is_pushed,
            COALESCE(to_jsonb(b) ->> 'encryption_mode' = 'encrypt', false) AS is_secret
    ) AS mode
    -- A copy of the database would receive the original's messages.
    WHERE b.is_active AND ((mode.follows OR mode.is_pushed) AND $4::boolean OR $3::boolean AND mode.is_secret)
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
    asks.inbound_secret_sealed, asks.acting_user, asks.acting_device, asks.acting_token, asks.is_pushed, asks.wants_events, asks.wants_missing,
    asks.encrypts, asks.only_verified, current_database()::text AS database,
    leased.epoch, leased.since, leased.matrix_user_id,
    EXTRACT(EPOCH FROM held.lease_until - now() AT TIME ZONE 'UTC')::double precision AS free_seconds
FROM asks
LEFT JOIN leased ON leased.backend_id = asks.id
LEFT JOIN matrix_follower AS held ON held.backend_id = asks.id AND held.owner <> $1::text AND leased.backend_id IS NULL
ORDER BY asks.id
