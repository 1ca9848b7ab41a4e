-- The token of the application service has a column of its own. token_sealed is the account's own token again: workers of earlier releases
-- send with it, and it signs the requests for files.
-- Locks: matrix_backend
DO $$
BEGIN
    -- The token of the registration file, also while messages are sent with the account's own: appservice_user_id says which is used.
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'matrix_backend'::regclass AND attname = 'appservice_token_sealed' AND NOT attisdropped
    ) THEN
        ALTER TABLE matrix_backend ADD COLUMN appservice_token_sealed varchar;
    END IF;
    -- Contract 12 had it in token_sealed, and Odoo kept the account's own token in a column that no worker reads.
    UPDATE matrix_backend AS b SET appservice_token_sealed = token_sealed, token_sealed = to_jsonb(b) ->> 'own_token_sealed'
    WHERE appservice_user_id IS NOT NULL AND appservice_token_sealed IS NULL;
    -- Without a token of its own a backend sends nothing, and says so, whichever release the worker is of.
    UPDATE matrix_backend SET appservice_user_id = NULL, appservice_device_id = NULL
    WHERE appservice_user_id IS NOT NULL AND token_sealed IS NULL;
END $$;

-- The homeserver remembers transaction ids for a device only, and another account or device than before is another device.
CREATE OR REPLACE FUNCTION matrix_backend_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    NEW.config_version := OLD.config_version + 1;
    IF (OLD.homeserver_url, OLD.token_sealed, OLD.appservice_user_id, OLD.appservice_device_id)
        IS DISTINCT FROM (NEW.homeserver_url, NEW.token_sealed, NEW.appservice_user_id, NEW.appservice_device_id)
    THEN
        NEW.configured_at := now() AT TIME ZONE 'UTC';
    END IF;
    PERFORM pg_notify('matrix_outbox', '');
    RETURN NEW;
END $$;

-- The worker notices a change at once.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'matrix_backend'::regclass AND tgname = 'matrix_backend_appservice') THEN
        CREATE TRIGGER matrix_backend_appservice BEFORE UPDATE ON matrix_backend FOR EACH ROW
            WHEN ((OLD.appservice_user_id, OLD.appservice_device_id, OLD.appservice_token_sealed)
                IS DISTINCT FROM (NEW.appservice_user_id, NEW.appservice_device_id, NEW.appservice_token_sealed))
            EXECUTE FUNCTION matrix_backend_changed();
    END IF;
END $$;
