-- When a backend's address or token was set last. A homeserver remembers transaction ids for one device only: what was queued before,
-- and may have been tried, is looked for in its room before the worker sends it again.
-- Locks: matrix_backend
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'matrix_backend'::regclass AND attname = 'configured_at' AND NOT attisdropped
    ) THEN
        ALTER TABLE matrix_backend ADD COLUMN configured_at timestamp;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION matrix_backend_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    NEW.config_version := OLD.config_version + 1;
    IF (OLD.homeserver_url, OLD.token_sealed) IS DISTINCT FROM (NEW.homeserver_url, NEW.token_sealed) THEN
        NEW.configured_at := now() AT TIME ZONE 'UTC';
    END IF;
    PERFORM pg_notify('matrix_outbox', '');
    RETURN NEW;
END $$;
