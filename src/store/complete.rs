//! Writes the results of messages into the database.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{Store, StoreError, int, lease, millis};
use crate::message::{EventId, Failure, Lease, MessageId, RoomId};

pub(super) const COMPLETE: &str = include_str!("../../sql/complete.sql");

/// The log keeps this many bytes of an error text.
const ERROR_BYTES: usize = 1024;

/// How one message ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    Sent(EventId),
    /// For good: the message will not be tried again.
    Failed(Failure),
    /// It stays in the outbox and is tried again later; Logs shows one failed row meanwhile.
    Stuck(Failure),
}

impl Verdict {
    fn event_id(&self) -> Option<&EventId> {
        match self {
            Self::Sent(event_id) => Some(event_id),
            Self::Failed(_) | Self::Stuck(_) => None,
        }
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Sent(_) => None,
            Self::Failed(failure) | Self::Stuck(failure) => Some(failure),
        }
    }

    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Stuck(_))
    }
}

/// The result of one message, as the log shows it.
#[derive(Clone, Debug)]
pub struct Completion {
    pub id: MessageId,
    pub lease: Lease,
    pub verdict: Verdict,
    /// What the log says about a message that was sent.
    pub note: Option<Failure>,
    pub attempts: i32,
    pub duration_ms: i32,
    pub room: Option<RoomId>,
    pub answered: Instant,
    pub event_type: String,
    /// The time from queueing to the answer.
    pub queued_for: Duration,
}

/// What happens to a lane.
#[derive(Clone, Debug)]
pub enum Settle {
    /// It is given back. Nobody leases it during its `rest`.
    Release {
        lease: Lease,
        /// `None`: the message that held the lane up before, as long as that one waits.
        held: Option<Held>,
        rest: Option<Duration>,
    },
    /// It stays ours, is held up by a message, and rests once it is given back.
    Hold { lease: Lease, held: Held, rest: Duration },
    /// It stays ours, and its messages are sent to this room from now on.
    Bind { lease: Lease, room: RoomId },
}

impl Settle {
    pub fn lease(&self) -> &Lease {
        match self {
            Self::Release { lease, .. } | Self::Hold { lease, .. } | Self::Bind { lease, .. } => lease,
        }
    }
}

/// The message that holds up a lane.
#[derive(Clone, Debug)]
pub struct Held {
    pub id: MessageId,
    pub attempts: i32,
    /// `None`: no new error since it was held.
    pub error: Option<Failure>,
    /// The time for which it has failed begins anew: somebody else is at fault now.
    pub begins_anew: bool,
}

/// What one statement writes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub completions: Vec<Completion>,
    pub settles: Vec<Settle>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.completions.len() + self.settles.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The leases under which the batch writes.
    pub fn leases(&self) -> HashSet<Lease> {
        let completed = self.completions.iter().map(|completion| &completion.lease);
        completed.chain(self.settles.iter().map(Settle::lease)).cloned().collect()
    }
}

impl Store {
    /// Deletes and logs messages and settles lanes in one fenced statement, and returns the leases that were still ours.
    ///
    /// May be repeated when it is not known whether it was committed.
    pub async fn complete(&self, batch: &Batch) -> Result<HashSet<Lease>, StoreError> {
        // Each lane appears once: with its settling if it has one, else unchanged.
        let settled: HashSet<_> = batch.settles.iter().map(Settle::lease).collect();
        let mut open: HashMap<&Lease, Option<Held>> = HashMap::new();
        for completion in batch.completions.iter().filter(|done| !settled.contains(&done.lease)) {
            let held = open.entry(&completion.lease).or_default();
            if let Verdict::Stuck(failure) = &completion.verdict {
                // Its failed row is written now, and in the same statement that it holds up the lane.
                *held = Some(Held {
                    id: completion.id,
                    attempts: completion.attempts,
                    error: Some(failure.clone()),
                    begins_anew: false,
                });
            }
        }
        let mut lanes = Lanes::default();
        for settle in &batch.settles {
            match settle {
                Settle::Release { lease, held, rest } => lanes.push(lease, true, *rest, held.as_ref(), None),
                Settle::Hold { lease, held, rest } => lanes.push(lease, false, Some(*rest), Some(held), None),
                Settle::Bind { lease, room } => lanes.push(lease, false, None, None, Some(room)),
            }
        }
        for (lease, held) in &open {
            lanes.push(lease, false, None, held.as_ref(), None);
        }
        let mut results = Results::default();
        for completion in &batch.completions {
            results.push(completion);
        }
        let rows = self
            .query(
                COMPLETE,
                &[
                    &self.name.owner,
                    &self.name.name,
                    &lanes.lane,
                    &lanes.epoch,
                    &lanes.is_released,
                    &lanes.retry_ms,
                    &lanes.held_id,
                    &lanes.attempts,
                    &lanes.last_error,
                    &lanes.room_id,
                    &results.id,
                    &results.lane,
                    &results.epoch,
                    &results.status,
                    &results.is_final,
                    &results.error_code,
                    &results.error_message,
                    &results.attempts,
                    &results.duration_ms,
                    &results.event_id,
                    &results.room_id,
                    &results.age_ms,
                    &lanes.begins_anew,
                ],
            )
            .await?;
        rows.iter().map(lease).collect()
    }
}

#[derive(Default)]
struct Lanes<'a> {
    lane: Vec<&'a str>,
    epoch: Vec<i64>,
    is_released: Vec<bool>,
    retry_ms: Vec<Option<i64>>,
    held_id: Vec<Option<i64>>,
    attempts: Vec<Option<i32>>,
    last_error: Vec<Option<String>>,
    room_id: Vec<Option<&'a str>>,
    begins_anew: Vec<bool>,
}

impl<'a> Lanes<'a> {
    fn push(
        &mut self,
        lease: &'a Lease,
        is_released: bool,
        rest: Option<Duration>,
        held: Option<&Held>,
        room: Option<&'a RoomId>,
    ) {
        self.lane.push(lease.lane.as_str());
        self.epoch.push(lease.epoch);
        self.is_released.push(is_released);
        self.retry_ms.push(rest.map(millis));
        self.held_id.push(held.map(|held| held.id));
        self.attempts.push(held.map(|held| held.attempts));
        self.last_error.push(held.and_then(|held| Some(bounded(&held.error.as_ref()?.to_string()))));
        self.room_id.push(room.map(RoomId::as_str));
        self.begins_anew.push(held.is_some_and(|held| held.begins_anew));
    }
}

#[derive(Default)]
struct Results<'a> {
    id: Vec<i64>,
    lane: Vec<&'a str>,
    epoch: Vec<i64>,
    status: Vec<&'a str>,
    is_final: Vec<bool>,
    error_code: Vec<Option<String>>,
    error_message: Vec<Option<String>>,
    attempts: Vec<i32>,
    duration_ms: Vec<i32>,
    event_id: Vec<Option<String>>,
    room_id: Vec<Option<&'a str>>,
    age_ms: Vec<i64>,
}

impl<'a> Results<'a> {
    fn push(&mut self, completion: &'a Completion) {
        let failure = completion.verdict.failure();
        let said = failure.or(completion.note.as_ref());
        self.id.push(completion.id);
        self.lane.push(completion.lease.lane.as_str());
        self.epoch.push(completion.lease.epoch);
        self.status.push(if failure.is_some() { "failed" } else { "ok" });
        self.is_final.push(completion.verdict.is_final());
        self.error_code.push(said.map(|said| bounded(&said.code)));
        self.error_message.push(said.map(|said| bounded(&said.text)));
        self.attempts.push(completion.attempts);
        self.duration_ms.push(completion.duration_ms);
        self.event_id.push(completion.verdict.event_id().map(|event_id| bounded(event_id.as_str())));
        self.room_id.push(completion.room.as_ref().map(RoomId::as_str));
        self.age_ms.push(int(completion.answered.elapsed().as_millis()).into());
    }
}

/// A text that the log accepts: without NUL, which PostgreSQL cannot store, and short enough.
pub(super) fn bounded(text: &str) -> String {
    let mut text = text.replace('\0', "");
    if text.len() > ERROR_BYTES {
        let end = (0..=ERROR_BYTES - '…'.len_utf8()).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_text_is_cut_between_characters_and_loses_its_nul() {
        let cut = bounded(&format!("\0{}", "é".repeat(1000)));

        assert!(cut.len() <= ERROR_BYTES && cut.ends_with("é…"), "{} bytes", cut.len());
        assert_eq!(bounded("short"), "short");
    }
}
