//! The statements whose plans are looked at.

/// A statement, arguments as the worker gives them, and the only indexes by which it may reach the tables that grow.
pub(super) struct Statement {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
    pub(super) arguments: &'static str,
    pub(super) indexes: &'static [&'static str],
}

/// The indexes that `history` reads the outbox and the log by.
const WAITING: &[&str] = &["matrix_outbox_pkey", "matrix_outbox_lane_id_idx", "matrix_lane_lane_key"];
const LOGGED: &[&str] = &["matrix_log_pkey", "matrix_log_res_idx", "matrix_log_failed_idx"];

pub(super) const STATEMENTS: [Statement; 25] = [
    Statement {
        name: "ring.sql",
        sql: include_str!("../../../sql/ring.sql"),
        arguments: "ARRAY[1], ARRAY['1/!room1:x'], 64, 2000, 'w/1', ARRAY[0]",
        indexes: &["matrix_outbox_lane_id_idx", "matrix_lane_lane_key"],
    },
    Statement {
        name: "claim.sql",
        sql: include_str!("../../../sql/claim.sql"),
        arguments: "'w/1', {lanes}, 64, 30000, 1, false",
        indexes: &["matrix_lane_lane_key", "matrix_backend_status_backend_id_key"],
    },
    Statement {
        name: "messages.sql",
        sql: include_str!("../../../sql/messages.sql"),
        arguments: "'w/1', {lanes}, 32, 82800000, 131072",
        indexes: &["matrix_outbox_lane_id_idx", "matrix_lane_lane_key"],
    },
    Statement {
        name: "complete.sql",
        sql: include_str!("../../../sql/complete.sql"),
        arguments: "'w/1', 'w', {lanes}, ARRAY[1, 1, 1], ARRAY[true, true, true], NULL, ARRAY[NULL, NULL, NULL]::bigint[], NULL,
            NULL, NULL, ARRAY[1, 2, 3], {lanes}, ARRAY[1, 1, 1], ARRAY['ok', 'ok', 'ok'], ARRAY[true, true, true], NULL, NULL,
            ARRAY[1, 1, 1], ARRAY[1, 1, 1], ARRAY['$1', '$2', '$3'], NULL, ARRAY[1, 1, 1], NULL",
        indexes: &["matrix_outbox_pkey", "matrix_outbox_lane_id_idx", "matrix_lane_lane_key", "matrix_log_failed_idx"],
    },
    Statement {
        name: "first_of_lane.sql",
        sql: include_str!("../../../sql/first_of_lane.sql"),
        arguments: "'1/!room1:x', 100",
        indexes: &["matrix_outbox_lane_id_idx", "matrix_log_failed_idx"],
    },
    Statement {
        name: "waits_behind.sql",
        sql: include_str!("../../../sql/waits_behind.sql"),
        arguments: "'1/!room1:x', 7",
        indexes: &["matrix_outbox_lane_id_idx"],
    },
    Statement {
        name: "logged_for.sql",
        sql: include_str!("../../../sql/logged_for.sql"),
        arguments: "'1/!room1:x', 7",
        indexes: &["matrix_outbox_pkey", "matrix_outbox_lane_id_idx", "matrix_log_failed_idx"],
    },
    Statement {
        name: "renew.sql",
        sql: include_str!("../../../sql/renew.sql"),
        arguments: "'w/1', {lanes}, ARRAY[1, 1, 1], 30000",
        indexes: &["matrix_lane_lane_key"],
    },
    Statement {
        name: "passed_between.sql",
        sql: include_str!("../../../sql/passed_between.sql"),
        arguments: "1, 600, 1",
        indexes: &["matrix_log_date_idx"],
    },
    Statement {
        name: "sendable.sql",
        sql: include_str!("../../../sql/sendable.sql"),
        arguments: "",
        indexes: &["matrix_outbox_lane_id_idx", "matrix_lane_lane_key"],
    },
    Statement {
        name: "changed_event.sql",
        sql: include_str!("../../../sql/changed_event.sql"),
        arguments: "1, '1/!room1:x'",
        indexes: &["matrix_outbox_pkey", "matrix_outbox_lane_id_idx", "matrix_log_res_idx"],
    },
    Statement {
        name: "file.sql",
        sql: include_str!("../../../sql/file.sql"),
        arguments: "1, '1/!room1:x'",
        indexes: &["matrix_upload_txn_id_key", "matrix_outbox_pkey", "matrix_outbox_lane_id_idx"],
    },
    Statement {
        name: "file_stored.sql",
        sql: include_str!("../../../sql/file_stored.sql"),
        arguments: "'w/1', '1/!room1:x', 1, 1, 'mxc://x/1', true",
        indexes: &["matrix_upload_txn_id_key", "matrix_outbox_pkey", "matrix_outbox_lane_id_idx", "matrix_lane_lane_key"],
    },
    Statement {
        name: "thread_root.sql",
        sql: include_str!("../../../sql/thread_root.sql"),
        arguments: "1, '1/!room1:x', '!room1:x'",
        indexes: &["matrix_outbox_pkey", "matrix_outbox_lane_id_idx", "matrix_log_res_idx", "matrix_thread_key"],
    },
    Statement {
        name: "thread_kept.sql",
        sql: include_str!("../../../sql/thread_kept.sql"),
        arguments: "1, '1/!room1:x', '!room1:x', '$1'",
        indexes: &["matrix_outbox_pkey", "matrix_outbox_lane_id_idx"],
    },
    Statement {
        name: "encrypted_lanes.sql",
        sql: include_str!("../../../sql/encrypted_lanes.sql"),
        arguments: "1, {lanes}",
        indexes: &["matrix_lane_lane_key", "matrix_encrypted_room_key"],
    },
    Statement {
        name: "file_encrypted.sql",
        sql: include_str!("../../../sql/file_encrypted.sql"),
        arguments: "'w/1', '1/!room1:x', 1, 1, 'mxc://x/1', true, 'fernet:x'",
        indexes: &["matrix_upload_txn_id_key", "matrix_outbox_pkey", "matrix_outbox_lane_id_idx", "matrix_lane_lane_key"],
    },
    Statement {
        name: "crypto_save.sql",
        sql: include_str!("../../../sql/crypto_save.sql"),
        arguments: "1, 'w/1', 1, ARRAY['session'], ARRAY['new'], ARRAY['fernet:x'], ARRAY['session', 'session'], ARRAY['7', '8']",
        indexes: &["matrix_crypto_item_pkey", "matrix_crypto_item_key"],
    },
    // As `history` asks: for a message, a room, a record, and failures.
    Statement {
        name: "history_waiting.sql of a message",
        sql: include_str!("../../../sql/history_waiting.sql"),
        arguments: "7, NULL, NULL, NULL, NULL, NULL, 9223372036854775807, 20000, 51",
        indexes: WAITING,
    },
    Statement {
        name: "history_waiting.sql of a room",
        sql: include_str!("../../../sql/history_waiting.sql"),
        arguments: "NULL, '!room1:x', NULL, NULL, NULL, 3600, 9223372036854775807, 20000, 51",
        indexes: WAITING,
    },
    Statement {
        name: "history_waiting.sql of a record",
        sql: include_str!("../../../sql/history_waiting.sql"),
        arguments: "NULL, NULL, NULL, 'legal.case', 7, NULL, 9223372036854775807, 20000, 51",
        indexes: WAITING,
    },
    Statement {
        name: "history_log.sql of a message",
        sql: include_str!("../../../sql/history_log.sql"),
        arguments: "7, NULL, NULL, NULL, NULL, NULL, false, 9223372036854775807, 20000, 51",
        indexes: LOGGED,
    },
    Statement {
        name: "history_log.sql of a room",
        sql: include_str!("../../../sql/history_log.sql"),
        arguments: "NULL, '!room1:x', NULL, NULL, NULL, 3600, false, 9223372036854775807, 20000, 51",
        indexes: LOGGED,
    },
    Statement {
        name: "history_log.sql of a record",
        sql: include_str!("../../../sql/history_log.sql"),
        arguments: "NULL, NULL, NULL, 'legal.case', 7, NULL, false, 9223372036854775807, 20000, 51",
        indexes: LOGGED,
    },
    Statement {
        name: "history_log.sql of failures",
        sql: include_str!("../../../sql/history_log.sql"),
        arguments: "NULL, NULL, NULL, NULL, NULL, 86400, true, 9223372036854775807, 20000, 51",
        indexes: LOGGED,
    },
];
