-- What is written in Matrix rooms comes to Odoo: which backends ask for it, and how far the worker that follows each one has read.
-- Locks: matrix_backend
DO $$
DECLARE
    holder text;
BEGIN
    -- How messages come in: 'follow' asks the worker to read the homeserver and to post what it reads to inbound_url.
    IF 3 <> (
        SELECT count(*) FROM pg_attribute
        WHERE attrelid = 'matrix_backend'::regclass AND NOT attisdropped
            AND attname IN ('inbound_mode', 'inbound_url', 'inbound_secret_sealed')
    ) THEN
        ALTER TABLE matrix_backend
            ADD COLUMN IF NOT EXISTS inbound_mode varchar,
            ADD COLUMN IF NOT EXISTS inbound_url varchar,
            ADD COLUMN IF NOT EXISTS inbound_secret_sealed varchar;
    END IF;

    -- Written by the worker. One row per account that is followed, which is the lease of the one worker that follows it.
    CREATE TABLE IF NOT EXISTS matrix_follower (
        id serial PRIMARY KEY,
        backend_id integer NOT NULL,
        lease_until timestamp,
        -- Grows with each lease; what is written under an older one matches nothing.
        epoch bigint NOT NULL DEFAULT 0,
        owner varchar,
        -- The account whose place in the homeserver's stream `since` is: up to there Odoo has accepted everything.
        matrix_user_id varchar,
        since varchar,
        -- following: all is well; waiting: Odoo does not accept; stopped: the homeserver does not answer or refuses.
        state varchar NOT NULL DEFAULT 'following',
        reason varchar,
        changed_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
        synced_at timestamp,
        forwarded_at timestamp,
        forwarded_total bigint NOT NULL DEFAULT 0,
        CONSTRAINT matrix_follower_state CHECK (state IN ('following', 'waiting', 'stopped'))
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
    CREATE UNIQUE INDEX IF NOT EXISTS matrix_follower_backend_id_key ON matrix_follower (backend_id);

    -- Whoever writes leases of lanes is a worker: nobody has to grant it anything after an upgrade.
    FOR holder IN
        SELECT r.rolname
        FROM pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        JOIN pg_roles AS r ON r.oid = acl.grantee
        WHERE c.oid = 'matrix_lane'::regclass AND acl.privilege_type = 'INSERT' AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON matrix_follower TO %I', holder);
        EXECUTE format('GRANT USAGE ON SEQUENCE matrix_follower_id_seq TO %I', holder);
    END LOOP;
END $$;
