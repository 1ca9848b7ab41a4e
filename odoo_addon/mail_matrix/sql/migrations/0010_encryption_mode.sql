-- Which accounts encrypt, how encryption is set up for them, and the keys of encrypted files. A worker uses this only when it was built with
-- the feature `encryption`.
-- Locks: matrix_backend, matrix_crypto, matrix_upload
DO $$
DECLARE
    holder text;
BEGIN
    -- encryption_mode: 'encrypt', or messages for encrypted rooms are refused. encryption_devices: 'verified' gives room keys only to devices
    -- that are signed by their owner. encrypt_new_rooms: new direct rooms are encrypted. encryption_asked_at: when Odoo last wrote a request.
    IF 4 <> (
        SELECT count(*) FROM pg_attribute
        WHERE attrelid = 'matrix_backend'::regclass AND NOT attisdropped
            AND attname IN ('encryption_mode', 'encryption_devices', 'encrypt_new_rooms', 'encryption_asked_at')
    ) THEN
        ALTER TABLE matrix_backend
            ADD COLUMN IF NOT EXISTS encryption_mode varchar,
            ADD COLUMN IF NOT EXISTS encryption_devices varchar,
            ADD COLUMN IF NOT EXISTS encrypt_new_rooms boolean,
            ADD COLUMN IF NOT EXISTS encryption_asked_at timestamp;
    END IF;
    -- The worker notices a change at once.
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'matrix_backend'::regclass AND tgname = 'matrix_backend_encryption') THEN
        CREATE TRIGGER matrix_backend_encryption BEFORE UPDATE ON matrix_backend FOR EACH ROW
            WHEN ((OLD.encryption_mode, OLD.encryption_devices, OLD.encrypt_new_rooms, OLD.encryption_asked_at)
                IS DISTINCT FROM (NEW.encryption_mode, NEW.encryption_devices, NEW.encrypt_new_rooms, NEW.encryption_asked_at))
            EXECUTE FUNCTION matrix_backend_changed();
    END IF;

    -- What people see of the device, and how the last request ended.
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'matrix_crypto'::regclass AND attname = 'setup_at' AND NOT attisdropped
    ) THEN
        ALTER TABLE matrix_crypto
            -- The device's ed25519 key, as clients show it.
            ADD COLUMN IF NOT EXISTS fingerprint varchar,
            -- signed: the account vouches for the device; missing: it does not, for this reason.
            ADD COLUMN IF NOT EXISTS signature varchar CONSTRAINT matrix_crypto_signature CHECK (signature IN ('signed', 'missing')),
            ADD COLUMN IF NOT EXISTS signature_reason varchar,
            ADD COLUMN IF NOT EXISTS setup_state varchar
                CONSTRAINT matrix_crypto_setup_state CHECK (setup_state IN ('running', 'done', 'failed')),
            ADD COLUMN IF NOT EXISTS setup_reason varchar,
            ADD COLUMN IF NOT EXISTS setup_at timestamp;
    END IF;

    -- Written by Odoo, one row per backend; the worker deletes it before it uses the secret, so that it is used once.
    CREATE TABLE IF NOT EXISTS matrix_crypto_request (
        id serial PRIMARY KEY,
        backend_id integer NOT NULL,
        -- new_device: start with the device of the present token; password: the same, and use the account's password if the homeserver
        -- asks for it; recovery_key: the same, and sign with the account's signing keys; reset: the same, and replace its signing keys.
        kind varchar NOT NULL,
        -- Sealed with the token key, never plain.
        secret_sealed varchar,
        user_id integer,
        requested_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
        CONSTRAINT matrix_crypto_request_kind CHECK (kind IN ('new_device', 'password', 'recovery_key', 'reset')),
        CONSTRAINT matrix_crypto_request_sealed CHECK (CASE kind WHEN 'new_device' THEN secret_sealed IS NULL
            ELSE secret_sealed LIKE 'fernet:%' AND secret_sealed IS NOT NULL END)
    );
    CREATE UNIQUE INDEX IF NOT EXISTS matrix_crypto_request_backend_id_key ON matrix_crypto_request (backend_id);

    -- The key and the hash of an encrypted file, sealed; NULL: the file is not encrypted.
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'matrix_upload'::regclass AND attname = 'file_sealed' AND NOT attisdropped
    ) THEN
        ALTER TABLE matrix_upload ADD COLUMN file_sealed text;
    END IF;

    -- Whoever writes leases of lanes is a worker: nobody has to grant it anything after an upgrade.
    FOR holder IN
        SELECT r.rolname
        FROM pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        JOIN pg_roles AS r ON r.oid = acl.grantee
        WHERE c.oid = 'matrix_lane'::regclass AND acl.privilege_type = 'INSERT' AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT SELECT, DELETE ON matrix_crypto_request TO %I', holder);
    END LOOP;
END $$;
