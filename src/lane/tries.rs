//! The tries of one message.

use std::time::{Duration, Instant};

use crate::{backend::Backend, message::MessageId, store::HeldSince};

/// One message's tries so far, including those of earlier claims.
pub(super) struct Tries {
    pub(super) attempts: i32,
    pub(super) since: Instant,
    pub(super) first_failed: Option<Instant>,
    /// When the last try began.
    pub(super) began: Instant,
    /// Another message was tried after the first failure and accepted before the last try. A message that was in flight at either
    /// moment proves nothing: the homeserver may have gone down or come back in between.
    pub(super) is_overtaken: bool,
}

impl Tries {
    pub(super) fn new() -> Self {
        Self::after(0, None)
    }

    /// The tries of the message with this id, in a lane that was `held`.
    pub(super) fn of(id: MessageId, held: Option<HeldSince>) -> Self {
        match held {
            Some(held) if held.id == id => Self::after(held.attempts, held.failing_for),
            // This message was committed late and is now in front of one that fails: the lane has still been failing for that long.
            Some(held) if held.id > id => Self::after(0, held.failing_for),
            _ => Self::new(),
        }
    }

    fn after(attempts: i32, failing_for: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            attempts,
            since: now,
            first_failed: failing_for.map(|ago| now.checked_sub(ago).unwrap_or(now)),
            began: now,
            is_overtaken: false,
        }
    }

    /// How long ago the first failure was.
    pub(super) fn failing_for(&self) -> Duration {
        self.first_failed.map_or(Duration::ZERO, |at| at.elapsed())
    }

    pub(super) fn begin(&mut self, backend: &Backend) {
        self.began = Instant::now();
        self.is_overtaken = self.first_failed.is_some_and(|at| backend.has_passed_since(at));
    }
}
