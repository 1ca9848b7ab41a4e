-- The rights of the worker's role: what it needs and nothing else. Run as the owner of Odoo's tables; may run again.
-- Odoo drops them with the tables when mail_matrix is uninstalled: run this again after it is reinstalled.
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, DELETE ON matrix_outbox TO {role};
GRANT SELECT, INSERT ON matrix_log TO {role};
GRANT SELECT ON matrix_backend TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON matrix_lane, matrix_backend_status, matrix_worker TO {role};
GRANT USAGE ON SEQUENCE matrix_log_id_seq, matrix_lane_id_seq, matrix_backend_status_id_seq, matrix_worker_id_seq TO {role};
-- A database of an earlier contract has not all of these tables.
DO $rights_of_the_follower$
BEGIN
    IF to_regclass('matrix_follower') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON matrix_follower TO {role};
        GRANT USAGE ON SEQUENCE matrix_follower_id_seq TO {role};
    END IF;
END $rights_of_the_follower$;
DO $rights_of_the_keys$
BEGIN
    IF to_regclass('matrix_crypto') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON matrix_crypto, matrix_crypto_item TO {role};
        -- A room that was encrypted once stays encrypted.
        GRANT SELECT, INSERT ON matrix_encrypted_room TO {role};
        GRANT USAGE ON SEQUENCE matrix_crypto_id_seq, matrix_crypto_item_id_seq, matrix_encrypted_room_id_seq TO {role};
    END IF;
END $rights_of_the_keys$;
DO $rights_of_the_setup$
BEGIN
    IF to_regclass('matrix_crypto_request') IS NOT NULL THEN
        GRANT SELECT, DELETE ON matrix_crypto_request TO {role};
    END IF;
END $rights_of_the_setup$;
DO $rights_of_files$
BEGIN
    IF to_regclass('matrix_upload') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE ON matrix_upload TO {role};
        GRANT USAGE ON SEQUENCE matrix_upload_id_seq TO {role};
    END IF;
END $rights_of_files$;
DO $rights_of_threads$
BEGIN
    IF to_regclass('matrix_thread') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE ON matrix_thread TO {role};
        GRANT USAGE ON SEQUENCE matrix_thread_id_seq TO {role};
    END IF;
END $rights_of_threads$;
-- The worker sets the same in each session; these apply when somebody uses the role by hand, and the last one already while
-- connecting, where the database has been made read-only. Somebody who may not alter the role leaves them to an administrator.
DO $rights_of_the_worker$
BEGIN
    ALTER ROLE {role} SET statement_timeout = '8s';
    ALTER ROLE {role} SET lock_timeout = '4s';
    ALTER ROLE {role} SET idle_in_transaction_session_timeout = '8s';
    ALTER ROLE {role} SET default_transaction_read_only = off;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'The time limits of the role were not set: only an administrator may. The worker sets its own.';
END $rights_of_the_worker$;
