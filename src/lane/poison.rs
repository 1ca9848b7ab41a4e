//! A message that has failed for a minute may be at fault itself. The one behind it tells: if the room takes that one, it is.

use std::time::Duration;

use tracing::debug;

use super::{
    Delivery, Next,
    outage::{SUSPECT_AFTER, Trouble},
    route::{Route, Step},
    tries::Tries,
};
use crate::{
    matrix::Homeserver,
    message::{EventId, Failure, Message, Outcome, Reply, State},
};

/// A refusal that took longer proves nothing: the room may have come back while the message waited for its answer.
const PROMPT: Duration = Duration::from_secs(2);

/// What became of the first message behind the head that the homeserver did not reject.
enum Past {
    /// It was sent; `place` is where it stands behind the head.
    Sent {
        place: usize,
        tries: Tries,
        event_id: EventId,
    },
    NotSent,
    /// The lane ends here for another reason.
    Ended(Next),
}

impl Delivery<'_> {
    /// Tries the messages `behind` the `head` until one is taken, if the head is under suspicion. `None`: nothing is known.
    pub(super) async fn try_past(
        &self,
        homeserver: &Homeserver,
        head: &Message,
        behind: &[Message],
        tries: &Tries,
        trouble: &Trouble,
        route: &mut Route,
    ) -> Option<Next> {
        let is_suspect =
            tries.failing_for() >= SUSPECT_AFTER && trouble.reply != Reply::Silence && tries.began.elapsed() < PROMPT;
        if !is_suspect || behind.is_empty() {
            return None;
        }
        debug!(message.id = head.id, lane = %self.claim.lane, "Trying the message behind one that fails");
        match self.first_past(homeserver, head, behind, tries, route).await {
            Past::NotSent => None,
            Past::Ended(next) => Some(next),
            Past::Sent { place, tries: of_this, event_id } => {
                // Its own answer may have been lost: what stands in the room has not failed.
                match route.found(homeserver, head).await {
                    Some(event_id) => self.sent(head, tries, event_id, route).await,
                    None => {
                        let text = format!("{}; the room has taken the next message", trouble.failure.text);
                        self.failed(head, tries, Failure { code: trouble.failure.code.clone(), text }).await
                    }
                };
                // After the head's: whoever reads the results in part must not find the head waiting behind this one.
                self.sent(&behind[place], &of_this, event_id, route).await;
                Some(Next::Done(place + 2))
            }
        }
    }

    async fn first_past(
        &self,
        homeserver: &Homeserver,
        head: &Message,
        behind: &[Message],
        tries: &Tries,
        route: &mut Route,
    ) -> Past {
        for (place, message) in behind.iter().enumerate() {
            // What changes an earlier message, the head perhaps, is no witness.
            if !self.may_call() || message.changes.is_some() {
                return Past::NotSent;
            }
            let mut of_this = Tries::new(None);
            if message.is_expired {
                self.expired(message, &of_this).await;
                continue;
            }
            of_this.begin(self.backend);
            match route.attempt(self, homeserver, message, &mut of_this.attempts).await {
                Step::Answered(Outcome::Sent(event_id)) => {
                    return Past::Sent { place, tries: of_this, event_id };
                }
                // At fault itself, and no witness.
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
                Step::Unreachable(_) => return Past::NotSent,
                Step::Fenced => return Past::Ended(self.untouched(head, tries)),
                Step::Answered(Outcome::Transient { .. } | Outcome::Misconfigured(_) | Outcome::Forbidden(_)) => {
                    return Past::NotSent;
                }
            }
        }
        Past::NotSent
    }
}
