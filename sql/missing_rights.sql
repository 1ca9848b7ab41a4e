-- What the role of this session may not do and the worker needs: one row per table and right. Says what sql/grants.sql gives.
SELECT need.relation, need.privilege
FROM (VALUES
    ('matrix_outbox', 'SELECT'), ('matrix_outbox', 'DELETE'), ('matrix_log', 'SELECT'), ('matrix_log', 'INSERT'),
    ('matrix_backend', 'SELECT'), ('matrix_lane', 'SELECT'), ('matrix_lane', 'INSERT'), ('matrix_lane', 'UPDATE'),
    ('matrix_lane', 'DELETE'), ('matrix_backend_status', 'SELECT'), ('matrix_backend_status', 'INSERT'),
    ('matrix_backend_status', 'UPDATE'), ('matrix_backend_status', 'DELETE'), ('matrix_worker', 'SELECT'),
    ('matrix_worker', 'INSERT'), ('matrix_worker', 'UPDATE'), ('matrix_worker', 'DELETE')
) AS need (relation, privilege)
WHERE NOT has_table_privilege(need.relation, need.privilege)
UNION ALL
SELECT sequence.name, 'USAGE'
FROM (VALUES ('matrix_log_id_seq'), ('matrix_lane_id_seq'), ('matrix_backend_status_id_seq'), ('matrix_worker_id_seq')) AS sequence (name)
WHERE NOT has_sequence_privilege(sequence.name, 'USAGE')
