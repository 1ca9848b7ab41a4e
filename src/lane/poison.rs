//! A message that has failed for a minute may be at fault itself. To find out, the one behind it is tried: if the room
//! accepts that one, the first one is at fault. If the second one fails in the same way it may be at fault too, so with each
//! further minute one more is tried.

use std::time::Duration;

use tracing::{debug, warn};

use super::{
    Delivery, Next,
    outage::{SUSPECT_AFTER, Trouble},
    route::{Route, Step},
    tries::Tries,
};
use crate::{
    matrix::Homeserver,
    message::{EventId, Failure, Message, Outcome, Reply, State, code},
    store::{Batch, Verdict},
};

/// A refusal that took longer proves nothing: the room may have come back while the message waited for its answer.
const PROMPT: Duration = Duration::from_secs(2);

const OVERTAKEN: &str = "the room has taken a later message although it did not take this one again and again";

/// How many messages may be tried past one that has failed for this long.
pub(super) fn depth(failing_for: Duration) -> u32 {
    u32::try_from(failing_for.as_secs() / SUSPECT_AFTER.as_secs()).unwrap_or(u32::MAX)
}

/// The result for the messages behind the head.
enum Past<'a> {
    /// One was sent; `place` is its index behind the head.
    Sent {
        place: usize,
        tries: Tries,
        event_id: EventId,
        /// The messages before it, which failed in the same way as the head.
        passed_over: Vec<(&'a Message, Tries, Failure)>,
    },
    NotSent,
    /// The lane stops here for another reason.
    Ended(Next),
}

impl Delivery<'_> {
    /// Tries the messages `behind` the `head` until one is accepted, if the head is suspect. `None`: nothing was learned.
    pub(super) async fn try_past(
        &self,
        homeserver: &Homeserver,
        head: &Message,
        behind: &[Message],
        tries: &Tries,
        trouble: &Trouble,
        route: &mut Route,
    ) -> Option<Next> {
        if trouble.reply == Reply::Silence || depth(tries.failing_for()) == 0 || behind.is_empty() {
            return None;
        }
        debug!(message.id = head.id, "Trying the messages behind one that fails");
        match self.first_past(homeserver, head, behind, tries, route).await {
            Past::NotSent => None,
            Past::Ended(next) => Some(next),
            Past::Sent { place, tries: of_this, event_id, passed_over } => {
                // Their own answers may have been lost: a message that is in the room has not failed.
                let mut arrived = route.markers_now(homeserver, head).await;
                let failed = passed_over.iter().map(|(message, tries, failure)| (*message, tries, failure));
                // The head comes after those behind it, because the lane is suspect only as long as its head waits.
                for (message, tries, failure) in failed.chain([(head, tries, &trouble.failure)]) {
                    match arrived.remove(message.txn_id.as_str()) {
                        Some(event_id) => self.sent(message, tries, event_id, route).await,
                        None => {
                            let text = format!("{}; the room has taken the next message", failure.text);
                            self.failed(message, tries, Failure { code: failure.code.clone(), text }).await
                        }
                    };
                }
                // After all of them: if only some of the results are stored, those must not be left waiting behind this one.
                self.sent(&behind[place], &of_this, event_id, route).await;
                Some(Next::Done(place + 2))
            }
        }
    }

    async fn first_past<'a>(
        &self,
        homeserver: &Homeserver,
        head: &Message,
        behind: &'a [Message],
        tries: &Tries,
        route: &mut Route,
    ) -> Past<'a> {
        let mut passed_over: Vec<(&Message, Tries, Failure)> = Vec::new();
        for (place, message) in behind.iter().enumerate() {
            // A message that changes an earlier one, perhaps the head, proves nothing.
            if !self.may_call() || tries.began.elapsed() >= PROMPT || message.changes.is_some() {
                return Past::NotSent;
            }
            let mut of_this = Tries::new();
            if let Some((before, of_that, failure)) = passed_over.last()
                && !self.record_failure(before, of_that, failure).await
            {
                return Past::Ended(self.untouched(head, tries));
            }
            of_this.begin(self.backend);
            match route.attempt(self, homeserver, message, &mut of_this.attempts).await {
                Step::Answered(Outcome::Sent(event_id)) => match route.was_there_before(self, message, head).await {
                    Ok(false) => return Past::Sent { place, tries: of_this, event_id, passed_over },
                    Ok(true) => {
                        self.sent(message, &of_this, event_id, route).await;
                    }
                    Err(_) => return Past::NotSent,
                },
                // It is at fault itself, so it proves nothing about the head.
                Step::Answered(Outcome::Rejected(failure)) => {
                    self.failed(message, &of_this, failure).await;
                }
                Step::Answered(Outcome::Limited { pause }) => {
                    return Past::Ended(self.limited(head, tries, pause).await);
                }
                Step::Answered(Outcome::Unauthorized(failure)) => {
                    return Past::Ended(self.stop(head, tries, State::Unauthorized, failure).await);
                }
                Step::LaneLimited(pause) => return Past::Ended(self.rest(head, tries, pause)),
                Step::Fenced => return Past::Ended(self.untouched(head, tries)),
                // It fails as the head does: the room does not answer, or this message is at fault too.
                Step::Answered(
                    Outcome::Transient { failure, reply: Reply::ServerError | Reply::Other }
                    | Outcome::Misconfigured(failure),
                ) if passed_over.len() + 1 < depth(tries.failing_for()) as usize => {
                    passed_over.push((message, of_this, failure));
                }
                Step::Answered(Outcome::Transient { .. } | Outcome::Misconfigured(_) | Outcome::Forbidden(_))
                | Step::Unreachable(_)
                | Step::Overtaken => return Past::NotSent,
            }
        }
        Past::NotSent
    }

    /// Writes the failed row of a message before another one is tried past it: a worker that takes over must know that
    /// it has failed. Returns whether the lane is still ours.
    async fn record_failure(&self, message: &Message, tries: &Tries, failure: &Failure) -> bool {
        let completion = self.completion(message, tries, Verdict::Stuck(failure.clone()), tries.began.elapsed(), None);
        let batch = Batch { completions: vec![completion], settles: Vec::new() };
        match self.context.store.complete(&batch).await {
            Ok(owned) => !owned.is_empty(),
            Err(error) => {
                warn!(%error, message.id, "That a message has failed could not be written");
                false
            }
        }
    }

    /// Gives up the messages past which another one was tried: the room has accepted that one, but its answer was lost.
    pub(super) async fn give_up_overtaken(&self, route: &mut Route) -> Next {
        let overtaken = route.give_up_overtaken();
        let messages = self.claim.messages.iter().filter(|message| overtaken.contains(&message.id));
        let mut messages: Vec<_> = messages.collect();
        // The head comes last, because the lane is suspect only as long as its head waits.
        messages.sort_by_key(|message| self.claim.held.is_some_and(|held| held.id == message.id));
        for message in messages {
            let tries = Tries::of(message.id, self.claim.held);
            self.failed(message, &tries, Failure::new(code::OVERTAKEN, OVERTAKEN)).await;
        }
        Next::Done(1)
    }
}
