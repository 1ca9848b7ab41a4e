//! What became of messages, as the log has it, without their texts.

use std::time::Duration;

use serde::Serialize;

use super::{Store, StoreError, value};

/// Which messages are meant. What is not said is no condition.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub message: Option<i64>,
    pub room: Option<String>,
    pub person: Option<String>,
    pub record: Option<(String, i32)>,
    pub since: Option<Duration>,
    pub only_failures: bool,
    pub most: i64,
}

/// One outcome of one message, or that it waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Happened {
    /// UTC.
    pub at: String,
    pub message: Option<i64>,
    pub backend_id: Option<i32>,
    pub event_type: Option<String>,
    pub room_id: Option<String>,
    pub matrix_user_id: Option<String>,
    pub res_model: Option<String>,
    pub res_id: Option<i32>,
    /// `ok`, `failed` for good, `held` until a better time, or `waiting`.
    pub state: String,
    pub attempts: i32,
    pub duration_ms: Option<i32>,
    /// From queueing to this outcome.
    pub queued_seconds: Option<f64>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub matrix_event_id: Option<String>,
    pub worker: Option<String>,
}

impl Store {
    /// Newest first.
    pub async fn history(&self, asked: &Asked) -> Result<Vec<Happened>, StoreError> {
        let (model, record) = asked.record.clone().unzip();
        let since = asked.since.map(|time| time.as_secs_f64());
        let rows = self
            .query(
                include_str!("../../sql/history.sql"),
                &[
                    &asked.message,
                    &asked.room,
                    &asked.person,
                    &model,
                    &record,
                    &since,
                    &asked.only_failures,
                    &asked.most,
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Happened {
                    at: value(row, "at")?,
                    message: value(row, "outbox_id")?,
                    backend_id: value(row, "backend_id")?,
                    event_type: value(row, "event_type")?,
                    room_id: value(row, "room_id")?,
                    matrix_user_id: value(row, "matrix_user_id")?,
                    res_model: value(row, "res_model")?,
                    res_id: value(row, "res_id")?,
                    state: value(row, "state")?,
                    attempts: value::<Option<i32>>(row, "attempts")?.unwrap_or_default(),
                    duration_ms: value(row, "duration_ms")?,
                    queued_seconds: value(row, "queued_seconds")?,
                    error_code: value(row, "error_code")?,
                    error_message: value(row, "error_message")?,
                    matrix_event_id: value(row, "matrix_event_id")?,
                    worker: value(row, "worker")?,
                })
            })
            .collect()
    }
}
