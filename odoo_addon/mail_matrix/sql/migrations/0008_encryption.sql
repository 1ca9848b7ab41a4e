-- Messages for encrypted rooms: the keys of an account's device, and which rooms are encrypted. A worker uses these tables only when it was
-- built with the feature `encryption`.
-- Locks: none
DO $$
DECLARE
    holder text;
BEGIN
    -- Written by the worker that follows the account, which holds the account's keys. One row per account that has a device with keys.
    CREATE TABLE IF NOT EXISTS matrix_crypto (
        id serial PRIMARY KEY,
        backend_id integer NOT NULL,
        matrix_user_id varchar NOT NULL,
        device_id varchar NOT NULL,
        -- Grows each time a worker takes the keys; what is written under an older one matches nothing.
        epoch bigint NOT NULL,
        owner varchar NOT NULL,
        -- ok: the keys may be used; refused: the device has keys that are not ours; lost: ours are gone; moved: they come from another
        -- database or from an earlier time, and are never used again.
        state varchar NOT NULL DEFAULT 'ok',
        reason varchar,
        changed_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
        -- Where and by which transaction this row was written. In a copy, and in a restored dump or backup, they are others.
        database_identity varchar NOT NULL,
        timeline_id integer NOT NULL,
        written_by bigint NOT NULL,
        CONSTRAINT matrix_crypto_state CHECK (state IN ('ok', 'refused', 'lost', 'moved'))
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
    CREATE UNIQUE INDEX IF NOT EXISTS matrix_crypto_backend_id_key ON matrix_crypto (backend_id);

    -- What the device must not forget: its own keys, its sessions with other devices, what it knows of them. Sealed as tokens are.
    -- Keys of rooms that the account itself writes with are not among them.
    CREATE TABLE IF NOT EXISTS matrix_crypto_item (
        id bigserial PRIMARY KEY,
        backend_id integer NOT NULL,
        kind varchar NOT NULL,
        key varchar COLLATE "C" NOT NULL,
        sealed text NOT NULL
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
    CREATE UNIQUE INDEX IF NOT EXISTS matrix_crypto_item_key ON matrix_crypto_item (backend_id, kind, key);

    -- Rooms that were encrypted once. A room cannot be turned back, so no row is ever removed: a homeserver that denies it later is not believed.
    CREATE TABLE IF NOT EXISTS matrix_encrypted_room (
        id serial PRIMARY KEY,
        backend_id integer NOT NULL,
        room_id varchar COLLATE "C" NOT NULL,
        seen_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
    );
    CREATE UNIQUE INDEX IF NOT EXISTS matrix_encrypted_room_key ON matrix_encrypted_room (backend_id, room_id);

    -- Whoever writes leases of lanes is a worker: nobody has to grant it anything after an upgrade.
    FOR holder IN
        SELECT r.rolname
        FROM pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        JOIN pg_roles AS r ON r.oid = acl.grantee
        WHERE c.oid = 'matrix_lane'::regclass AND acl.privilege_type = 'INSERT' AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON matrix_crypto, matrix_crypto_item TO %I', holder);
        EXECUTE format('GRANT SELECT, INSERT ON matrix_encrypted_room TO %I', holder);
        EXECUTE format(
            'GRANT USAGE ON SEQUENCE matrix_crypto_id_seq, matrix_crypto_item_id_seq, matrix_encrypted_room_id_seq TO %I', holder
        );
    END LOOP;
END $$;
