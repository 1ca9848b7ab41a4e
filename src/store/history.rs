//! The history of messages from the log, without their texts.

use serde::Serialize;
use tokio_postgres::Row;

use super::{Store, StoreError, value};
use crate::message::{RoomId, UserId};

/// Which messages are wanted. `None` means any.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub message: Option<i64>,
    pub room: Option<RoomId>,
    pub person: Option<UserId>,
    pub record: Option<(String, i32)>,
    /// Not older than this many seconds.
    pub since: Option<f64>,
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
    /// `ok`, `failed` for good, `held` for a later try, or `waiting`.
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

/// What was found, newest first, and how far back the search went.
#[derive(Debug)]
pub struct Found {
    pub events: Vec<Happened>,
    /// UTC. The log contains older rows than this, which were not read.
    pub searched_back_to: Option<String>,
}

/// The most rows that one statement reads.
const STEP: i64 = 20_000;

/// The most rows of the log that are read for one query, unless it says since when.
const LONGEST_WALK: i64 = 1_000_000;

/// A little more than the longest time by which a message's date can differ from its place in the queue.
const SLACK: f64 = 60.0;

/// One step through the outbox or the log.
struct Step {
    events: Vec<Happened>,
    /// How long ago the first of them was queued, in seconds.
    queued_ago: Option<f64>,
    rows: i64,
    /// Where the next step begins.
    last: Option<i64>,
    back_to: Option<String>,
    is_past: bool,
}

impl Store {
    /// Walks backwards through the waiting messages and the log, in statements that read a bounded number of rows each.
    /// `walked` is called with the number of log rows read, and the date that they go back to.
    pub async fn history(&self, asked: &Asked, mut walked: impl FnMut(i64, &str)) -> Result<Found, StoreError> {
        let mut asked = asked.clone();
        let (mut events, waits_for) =
            if asked.only_failures { (Vec::new(), None) } else { self.waiting_of(&asked).await? };
        let may_stop = asked.since.is_none();
        asked.narrow(waits_for);
        let mut logged: Vec<Happened> = Vec::new();
        let (mut before, mut rows) = (i64::MAX, 0);
        let searched_back_to = loop {
            let step = self.log_step(&asked, before).await?;
            asked.narrow(step.queued_ago);
            logged.extend(step.events);
            rows += step.rows;
            let (Some(last), Some(back_to)) = (step.last, step.back_to) else { break None };
            walked(rows, &back_to);
            if step.rows < STEP || step.is_past || logged.len() >= asked.most() {
                break None;
            }
            if may_stop && rows >= LONGEST_WALK {
                break Some(back_to);
            }
            before = last;
        };
        events.extend(logged);
        // Results that had to wait for the database come later in the log than their dates.
        events.sort_by(|a, b| b.at.cmp(&a.at));
        events.truncate(asked.most());
        Ok(Found { events, searched_back_to })
    }

    /// The messages that wait, and how long ago the first of them was queued.
    async fn waiting_of(&self, asked: &Asked) -> Result<(Vec<Happened>, Option<f64>), StoreError> {
        let (model, record) = asked.record.clone().unzip();
        let (room, person) = asked.target();
        let (mut events, mut queued_ago, mut before) = (Vec::new(), None, i64::MAX);
        loop {
            let rows = self
                .query(
                    include_str!("../../sql/history_waiting.sql"),
                    &[&asked.message, &room, &person, &model, &record, &asked.since, &before, &STEP, &asked.most],
                )
                .await?;
            let step = step(&rows)?;
            queued_ago = queued_ago.or(step.queued_ago);
            events.extend(step.events);
            match step.last {
                Some(last) if step.rows == STEP && events.len() < asked.most() => before = last,
                _ => return Ok((events, queued_ago)),
            }
        }
    }

    async fn log_step(&self, asked: &Asked, before: i64) -> Result<Step, StoreError> {
        let (model, record) = asked.record.clone().unzip();
        let (room, person) = asked.target();
        let rows = self
            .query(
                include_str!("../../sql/history_log.sql"),
                &[
                    &asked.message,
                    &room,
                    &person,
                    &model,
                    &record,
                    &asked.since,
                    &asked.only_failures,
                    &before,
                    &STEP,
                    &asked.most,
                ],
            )
            .await?;
        let mut step = step(&rows)?;
        if let Some(row) = rows.first() {
            step.back_to = value(row, "step_at")?;
            step.is_past = value(row, "is_past")?;
        }
        Ok(step)
    }
}

impl Asked {
    fn most(&self) -> usize {
        usize::try_from(self.most).unwrap_or_default()
    }

    fn target(&self) -> (Option<&str>, Option<&str>) {
        (self.room.as_ref().map(RoomId::as_str), self.person.as_ref().map(UserId::as_str))
    }

    /// Nothing about a message was logged before it was queued.
    fn narrow(&mut self, queued_ago: Option<f64>) {
        if let (Some(_), Some(seconds)) = (self.message, queued_ago) {
            let since = seconds + SLACK;
            self.since = Some(self.since.map_or(since, |asked| asked.min(since)));
        }
    }
}

fn step(rows: &[Row]) -> Result<Step, StoreError> {
    let mut step = Step { events: Vec::new(), queued_ago: None, rows: 0, last: None, back_to: None, is_past: false };
    if let Some(first) = rows.first() {
        step.rows = value(first, "step_rows")?;
        step.last = value(first, "step_id")?;
        step.queued_ago = value(first, "queued_ago_seconds")?;
    }
    for row in rows {
        // A row with only the position of the walk: nothing was found.
        let Some(at) = value::<Option<String>>(row, "at")? else { continue };
        step.events.push(Happened {
            at,
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
        });
    }
    Ok(step)
}
