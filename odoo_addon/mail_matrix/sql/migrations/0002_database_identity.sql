-- A backend belongs to the database in which it was set up: a copy of that database must not send in its rooms.
-- Locks: matrix_backend

-- Another one in every copy that Odoo, CREATE DATABASE … TEMPLATE or a restored dump makes, and the same on a standby that takes over. Not
-- Odoo's database.uuid: a restored dump keeps it, and the worker may not read it.
CREATE OR REPLACE FUNCTION matrix_database_identity() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT control.system_identifier || '/' || d.oid
    FROM pg_control_system() AS control, pg_database AS d
    WHERE d.datname = current_database()
$$;

ALTER TABLE matrix_backend ADD COLUMN IF NOT EXISTS database_identity varchar;
ALTER TABLE matrix_backend ALTER COLUMN database_identity SET DEFAULT matrix_database_identity();
UPDATE matrix_backend SET database_identity = DEFAULT WHERE database_identity IS NULL;

-- It is another configuration, which workers must read and which ends the stop of the copy.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'matrix_backend'::regclass AND tgname = 'matrix_backend_moved') THEN
        CREATE TRIGGER matrix_backend_moved BEFORE UPDATE ON matrix_backend FOR EACH ROW
            WHEN (OLD.database_identity IS DISTINCT FROM NEW.database_identity)
            EXECUTE FUNCTION matrix_backend_changed();
    END IF;
END $$;
