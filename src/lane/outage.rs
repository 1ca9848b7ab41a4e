//! Decides, after a message has failed twice, whether the homeserver is down, only this room does not answer, or the message
//! itself is at fault.

use std::time::Duration;

use tracing::{info, warn};

use super::{
    Delivery, Next, Stop, poison,
    route::{Route, Step},
    tries::Tries,
};
use crate::{
    backoff,
    matrix::Homeserver,
    message::{Failure, Message, MessageId, Outcome, Reply, State},
    store::{Held, HeldSince, Lacked, Verdict},
};

/// How long a lane rests if its room accepts no messages while others do.
const SHORTEST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// A message that has failed for this long may be at fault itself: the one behind it is tried to find out.
pub(super) const SUSPECT_AFTER: Duration = Duration::from_secs(60);

/// If there is no message behind it, only time can show that.
const ALONE_FOR: Duration = Duration::from_secs(10 * 60);

/// How long a message may wait for what only it needs, because the room's other messages wait behind it.
pub(super) const GIVEN_UP_AFTER: Duration = Duration::from_secs(10 * 60);

/// A failure is in the log a moment before the time for which its lane has failed begins: its row says when it was answered.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);

/// Why a message could not be sent, and what that says about the homeserver.
pub(super) struct Trouble {
    pub(super) failure: Failure,
    pub(super) reply: Reply,
    /// The backend's state if the problem is not limited to this room.
    pub(super) state: State,
}

impl Delivery<'_> {
    /// The retry has failed too. `behind`: the messages of the claim that wait for this one.
    pub(super) async fn exhausted(
        &self,
        homeserver: &Homeserver,
        message: &Message,
        behind: &[Message],
        tries: &Tries,
        trouble: Trouble,
        route: &mut Route,
    ) -> Next {
        if !self.backend.hold_on_outage {
            return self.failed(message, tries, trouble.failure).await;
        }
        if let Some(next) = self.try_past(homeserver, message, behind, tries, &trouble, route).await {
            return next;
        }
        // If it is given up in a later claim, none of those that were tried past it comes next in this one.
        if behind.is_empty() && self.is_poison_alone(homeserver, message, tries, &trouble).await {
            return self.failed(message, tries, trouble.failure).await;
        }
        if self.others_pass(tries).await {
            return self.hold(message, tries, trouble.failure).await;
        }
        // The worker is stopping, or the lease is ending: who claims the lane next finds out whether the account is at fault.
        if !self.may_call() {
            return self.untouched(message, tries);
        }
        if self.is_only_this_room(homeserver).await {
            return self.hold(message, tries, trouble.failure).await;
        }
        self.stop(message, tries, trouble.state, trouble.failure).await
    }

    /// Whether other messages were accepted between this one's first failure and its last try.
    pub(super) async fn others_pass(&self, tries: &Tries) -> bool {
        let Some(first_failed) = tries.first_failed else { return false };
        if tries.is_overtaken {
            return true;
        }
        let (from, until) = (first_failed.elapsed(), tries.began.elapsed());
        match self.context.store.passed_between(self.backend.id, from, until).await {
            Ok(passed) => passed,
            Err(error) => {
                warn!(%error, "Could not find out whether other messages got through");
                false
            }
        }
    }

    /// Whether the only message of its lane is to be given up: the homeserver answers, and its answer is about this request. A web page
    /// or no answer may be due to something between us and a part of the homeserver.
    async fn is_poison_alone(
        &self,
        homeserver: &Homeserver,
        message: &Message,
        tries: &Tries,
        trouble: &Trouble,
    ) -> bool {
        if tries.failing_for() < ALONE_FOR || trouble.reply != Reply::ServerError {
            return false;
        }
        match self.context.store.waits_behind(&self.claim.lane, message.id).await {
            Ok(false) => self.account_answers(homeserver).await,
            Ok(true) => false,
            Err(error) => {
                warn!(%error, "Could not find out whether other messages of the lane wait");
                false
            }
        }
    }

    /// Whether no other lane fails, even if no other message was accepted either, and the homeserver answers for the account itself. When
    /// there is little traffic, one room that does not answer must not stop all others.
    async fn is_only_this_room(&self, homeserver: &Homeserver) -> bool {
        self.backend.is_only_failing(&self.claim.lane) && self.account_answers(homeserver).await
    }

    async fn account_answers(&self, homeserver: &Homeserver) -> bool {
        self.may_call() && homeserver.whoami().await.is_ok()
    }

    /// Whether a message has waited long enough for what only it or its room needs, while the homeserver answers.
    pub(super) async fn is_given_up(&self, homeserver: &Homeserver, message: &Message, failure: &Failure) -> bool {
        let Some((held, failing_for)) = self.failing_before(message) else { return false };
        failing_for >= GIVEN_UP_AFTER
            && (!is_of_another(held, failure) || self.began_anew(held.id, failing_for).await)
            && self.account_answers(homeserver).await
    }

    /// The message's failures in earlier claims, and for how long it has failed.
    fn failing_before(&self, message: &Message) -> Option<(HeldSince, Duration)> {
        let held = self.claim.held.filter(|held| held.id == message.id)?;
        Some((held, held.failing_for?))
    }

    /// Whether the time for which a message has failed began anew once. Its failed row in the log is as old as its first failure.
    async fn began_anew(&self, id: MessageId, failing_for: Duration) -> bool {
        match self.context.store.logged_for(&self.claim.lane, id).await {
            Ok(logged_for) => logged_for.is_some_and(|time| time > failing_for + WRITTEN_WITHIN),
            Err(error) => {
                warn!(%error, "Could not find out since when a message has failed");
                false
            }
        }
    }

    /// The room waits for what the message needs; after ten minutes of this the message is given up.
    pub(super) async fn awaits(&self, homeserver: &Homeserver, message: &Message, failure: Failure) -> Step {
        if self.is_given_up(homeserver, message, &failure).await {
            return Step::Answered(Outcome::Rejected(failure));
        }
        Step::Unreachable(failure)
    }

    /// This lane cannot be served while others can: it rests, for longer each time.
    pub(super) async fn hold(&self, message: &Message, tries: &Tries, failure: Failure) -> Next {
        if !self.backend.hold_on_outage {
            return self.failed(message, tries, failure).await;
        }
        let pause = backoff::with_jitter(rest_after(tries.failing_for()));
        info!(message.id, pause_ms = pause.as_millis(), %failure, "This room or person cannot be reached while others can; the lane rests");
        self.complete(message, tries, Verdict::Stuck(failure.clone()), tries.since.elapsed(), None).await;
        let held = self.held_by(message, tries, failure).await;
        Next::Stop(Stop { held: Some(held), retry_after: Some(pause) })
    }

    /// The message that holds up the lane from now on. The time to wait for a file or for keys does not include an outage of the homeserver
    /// before, nor the other way round. If they fail in turn, it is one time for all, or it would never end.
    async fn held_by(&self, message: &Message, tries: &Tries, failure: Failure) -> Held {
        let begins_anew = match self.failing_before(message) {
            Some((held, failing_for)) if is_of_another(held, &failure) => !self.began_anew(held.id, failing_for).await,
            _ => false,
        };
        Held { id: message.id, attempts: tries.attempts, error: Some(failure), begins_anew }
    }

    /// Nobody may send until a probe succeeds. The message stays, with one failed row in the log.
    pub(super) async fn stop(&self, message: &Message, tries: &Tries, state: State, failure: Failure) -> Next {
        if !self.backend.hold_on_outage {
            return self.failed(message, tries, failure).await;
        }
        self.gate.close();
        warn!(state = state.as_str(), %failure, "The backend is stopped until a probe succeeds");
        let store = &self.context.store;
        match store.stopped(self.backend.id, self.backend.config_version, state, &failure).await {
            Ok(()) => self.gate.recorded(),
            Err(error) => {
                warn!(%error, "The state of a stopped backend could not be recorded; it is kept here");
                self.gate.unrecorded(Duration::ZERO);
            }
        }
        self.complete(message, tries, Verdict::Stuck(failure.clone()), tries.since.elapsed(), None).await;
        let held = self.held_by(message, tries, failure).await;
        Next::Stop(Stop { held: Some(held), retry_after: None })
    }
}

/// Whether the message lacks something else than before, for which somebody else is at fault.
fn is_of_another(held: HeldSince, failure: &Failure) -> bool {
    held.lacked != Lacked::by_code(&failure.code)
}

/// Pauses that grow with the time for which the message has failed, and that end when one more message may be tried past it.
fn rest_after(failing_for: Duration) -> Duration {
    let rest = (failing_for / 2).clamp(SHORTEST_REST, LONGEST_REST);
    let left = (poison::depth(failing_for) + 1) * SUSPECT_AFTER - failing_for;
    // The database counts from a slightly later moment, when the failure was stored.
    rest.min(left + Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_room_is_tried_less_and_less_often_but_once_a_minute_at_least() {
        let mut failing_for = Duration::ZERO;
        let mut rests = Vec::new();
        while failing_for < Duration::from_secs(15 * 60) {
            rests.push(rest_after(failing_for));
            failing_for += *rests.last().unwrap();
        }

        assert_eq!(rests.first(), Some(&SHORTEST_REST));
        assert_eq!(rests.last(), Some(&LONGEST_REST));
        assert!(rests.len() < 30, "{rests:?}");
        let looks: Vec<_> = rests
            .iter()
            .scan(Duration::ZERO, |at, rest| {
                *at += *rest;
                Some(*at)
            })
            .collect();
        for minute in 1..15 {
            let in_time = minute * 60..=minute * 60 + 15;
            assert!(
                looks.iter().any(|at| in_time.contains(&at.as_secs())),
                "one more message is tried past it in minute {minute}: {looks:?}"
            );
        }
    }
}
