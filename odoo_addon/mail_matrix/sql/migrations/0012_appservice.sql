-- A backend may send through its application service: token_sealed is then the token of the registration, and each request names
-- the account that sends and a device of it, because a homeserver remembers transaction ids for a device only.
-- Locks: matrix_backend
DO $$
BEGIN
    -- NULL: token_sealed is the token of the account itself.
    IF 2 <> (
        SELECT count(*) FROM pg_attribute
        WHERE attrelid = 'matrix_backend'::regclass AND NOT attisdropped
            AND attname IN ('appservice_user_id', 'appservice_device_id')
    ) THEN
        ALTER TABLE matrix_backend
            ADD COLUMN IF NOT EXISTS appservice_user_id varchar,
            ADD COLUMN IF NOT EXISTS appservice_device_id varchar;
    END IF;
END $$;
