-- Files that go out: where the worker fetches a file that waits in the outbox, and the address of each one on the homeserver. The address
-- on the homeserver is stored before anything is uploaded there, so that no file is uploaded twice.
-- Locks: matrix_backend
DO $$
DECLARE
    holder text;
BEGIN
    -- NULL: this backend sends no files.
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'matrix_backend'::regclass AND attname = 'files_url' AND NOT attisdropped
    ) THEN
        ALTER TABLE matrix_backend ADD COLUMN files_url varchar;
    END IF;

    -- Written by the worker. One row per message with a file, by the message's transaction id: a Retry finds it again.
    CREATE TABLE IF NOT EXISTS matrix_upload (
        id serial PRIMARY KEY,
        txn_id varchar NOT NULL,
        -- An address belongs to one account.
        backend_id integer NOT NULL,
        content_uri varchar NOT NULL,
        -- The homeserver has the file, and not only an address for it.
        is_uploaded boolean NOT NULL DEFAULT false,
        date timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
    );
    CREATE UNIQUE INDEX IF NOT EXISTS matrix_upload_txn_id_key ON matrix_upload (txn_id);

    -- Whoever writes leases of lanes is a worker: nobody has to grant it anything after an upgrade.
    FOR holder IN
        SELECT r.rolname
        FROM pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        JOIN pg_roles AS r ON r.oid = acl.grantee
        WHERE c.oid = 'matrix_lane'::regclass AND acl.privilege_type = 'INSERT' AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON matrix_upload TO %I', holder);
        EXECUTE format('GRANT USAGE ON SEQUENCE matrix_upload_id_seq TO %I', holder);
    END LOOP;
END $$;
