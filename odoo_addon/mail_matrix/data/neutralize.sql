-- A copy of a database must not speak in the rooms of the original.
UPDATE matrix_backend
SET token_sealed = NULL, is_active = false;
DELETE FROM matrix_outbox;
DELETE FROM matrix_backend_status;
DELETE FROM matrix_lane;
DELETE FROM matrix_worker;
