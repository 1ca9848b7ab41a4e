-- Threads: the event with which the thread of a record begins in a room. The log has it too, but forgets it after a year.
-- Locks: none
DO $$
DECLARE
    holder text;
BEGIN
    -- Written by the worker, for records whose backend uses threads.
    CREATE TABLE IF NOT EXISTS matrix_thread (
        id serial PRIMARY KEY,
        res_model varchar NOT NULL,
        res_id integer NOT NULL,
        room_id varchar COLLATE "C" NOT NULL,
        root_event_id varchar NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS matrix_thread_key ON matrix_thread (res_model, res_id, room_id);

    -- Whoever writes leases of lanes is a worker: nobody has to grant it anything after an upgrade.
    FOR holder IN
        SELECT r.rolname
        FROM pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        JOIN pg_roles AS r ON r.oid = acl.grantee
        WHERE c.oid = 'matrix_lane'::regclass AND acl.privilege_type = 'INSERT' AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON matrix_thread TO %I', holder);
        EXECUTE format('GRANT USAGE ON SEQUENCE matrix_thread_id_seq TO %I', holder);
    END LOOP;
END $$;
