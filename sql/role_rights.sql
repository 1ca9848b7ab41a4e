-- The rights of this session's role that differ from what sql/grants.sql gives: those that are missing, and additional ones on any
-- table of Odoo's schema. One row per table and right; of the additional rights only the first ones. For a superuser, who has all
-- rights, no additional ones are shown.
--
-- $1 show at most so many additional rights
WITH need (relation, privilege) AS (
    VALUES ('matrix_outbox', 'SELECT'), ('matrix_outbox', 'DELETE'), ('matrix_log', 'SELECT'), ('matrix_log', 'INSERT'),
        ('matrix_backend', 'SELECT'), ('matrix_lane', 'SELECT'), ('matrix_lane', 'INSERT'), ('matrix_lane', 'UPDATE'),
        ('matrix_lane', 'DELETE'), ('matrix_backend_status', 'SELECT'), ('matrix_backend_status', 'INSERT'),
        ('matrix_backend_status', 'UPDATE'), ('matrix_backend_status', 'DELETE'), ('matrix_worker', 'SELECT'),
        ('matrix_worker', 'INSERT'), ('matrix_worker', 'UPDATE'), ('matrix_worker', 'DELETE'), ('matrix_follower', 'SELECT'),
        ('matrix_follower', 'INSERT'), ('matrix_follower', 'UPDATE'), ('matrix_follower', 'DELETE'), ('matrix_crypto', 'SELECT'),
        ('matrix_crypto', 'INSERT'), ('matrix_crypto', 'UPDATE'), ('matrix_crypto', 'DELETE'), ('matrix_crypto_item', 'SELECT'),
        ('matrix_crypto_item', 'INSERT'), ('matrix_crypto_item', 'UPDATE'), ('matrix_crypto_item', 'DELETE'),
        ('matrix_encrypted_room', 'SELECT'), ('matrix_encrypted_room', 'INSERT'), ('matrix_upload', 'SELECT'), ('matrix_upload', 'INSERT'),
        ('matrix_upload', 'UPDATE'), ('matrix_crypto_request', 'SELECT'), ('matrix_crypto_request', 'DELETE'),
        ('matrix_thread', 'SELECT'), ('matrix_thread', 'INSERT'), ('matrix_thread', 'UPDATE')
), beyond AS (
    SELECT c.relname::text AS relation, kind.privilege
    FROM pg_class AS c
    CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) AS kind (privilege)
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND c.relnamespace = (SELECT o.relnamespace FROM pg_class AS o WHERE o.oid = to_regclass('matrix_outbox'))
        AND has_table_privilege(c.oid, kind.privilege)
        AND NOT EXISTS (SELECT FROM need WHERE need.relation = c.relname AND need.privilege = kind.privilege)
        AND NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user)
        -- Views of an extension, such as pg_stat_statements, are everybody's.
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY c.relname, kind.privilege
    LIMIT $1::bigint
)
SELECT need.relation, need.privilege, true AS is_missing
FROM need
-- Earlier contracts do not have all of these tables.
WHERE NOT has_table_privilege(to_regclass(need.relation), need.privilege)
UNION ALL
SELECT sequence.name, 'USAGE', true
FROM (VALUES ('matrix_log_id_seq'), ('matrix_lane_id_seq'), ('matrix_backend_status_id_seq'), ('matrix_worker_id_seq'),
    ('matrix_follower_id_seq'), ('matrix_crypto_id_seq'), ('matrix_crypto_item_id_seq'), ('matrix_encrypted_room_id_seq'),
    ('matrix_upload_id_seq'), ('matrix_thread_id_seq')) AS sequence (name)
WHERE NOT has_sequence_privilege(to_regclass(sequence.name), 'USAGE')
UNION ALL
SELECT beyond.relation, beyond.privilege, false
FROM beyond
