-- The log's ids outlast four-byte numbers: each try of a message takes one.
-- Locks: matrix_log
-- Rewrites the log once. Who saves a record does not write there; the worker waits and completes afterwards.
DO $$
BEGIN
    IF (SELECT atttypid FROM pg_attribute WHERE attrelid = 'matrix_log'::regclass AND attname = 'id') <> 'bigint'::regtype THEN
        ALTER TABLE matrix_log ALTER COLUMN id TYPE bigint;
        ALTER SEQUENCE matrix_log_id_seq AS bigint;
    END IF;
END $$;
