-- A copy of a database must not post in the rooms of the original. What is left of a backend belongs to the copy.
UPDATE matrix_backend
SET token_sealed = NULL, is_active = false, database_identity = matrix_database_identity(),
    inbound_mode = NULL, inbound_url = NULL, inbound_secret_sealed = NULL, send_files = false, files_url = NULL,
    encryption_mode = NULL, appservice_user_id = NULL, appservice_device_id = NULL,
    appservice_token_sealed = NULL;
DELETE FROM matrix_outbox;
DELETE FROM matrix_mirror;
DELETE FROM matrix_subject;
DELETE FROM matrix_backend_status;
DELETE FROM matrix_lane;
DELETE FROM matrix_worker;
DELETE FROM matrix_follower;
DELETE FROM matrix_upload;
DELETE FROM matrix_thread;
DELETE FROM matrix_inbound;
-- The keys belong to a device of the original. That a room is encrypted stays true.
DELETE FROM matrix_crypto;
DELETE FROM matrix_crypto_item;
DELETE FROM matrix_crypto_request;
DELETE FROM matrix_room_look;
DELETE FROM matrix_room_request;
DELETE FROM matrix_early_message;
