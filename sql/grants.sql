-- The rights of the worker's role: what it needs and nothing else. Run as the owner of Odoo's tables; may run again.
-- Odoo drops them with the tables when mail_matrix is uninstalled: run this again after it was installed anew.
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, DELETE ON matrix_outbox TO {role};
GRANT SELECT, INSERT ON matrix_log TO {role};
GRANT SELECT ON matrix_backend TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON matrix_lane, matrix_backend_status, matrix_worker TO {role};
GRANT USAGE ON SEQUENCE matrix_log_id_seq, matrix_lane_id_seq, matrix_backend_status_id_seq, matrix_worker_id_seq TO {role};
-- The worker asks for the same on each connection; these hold for whoever uses the role by hand.
ALTER ROLE {role} SET statement_timeout = '8s';
ALTER ROLE {role} SET lock_timeout = '4s';
ALTER ROLE {role} SET idle_in_transaction_session_timeout = '8s';
