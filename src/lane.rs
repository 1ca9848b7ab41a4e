//! Sends one lane's messages in order: each waits for its answer, is retried once, and ends as sent, failed or stuck.

mod changes;
mod direct_list;
#[cfg(feature = "encryption")]
mod encrypted;
#[cfg(feature = "encryption")]
mod encrypted_file;
mod files;
mod look;
mod outage;
mod poison;
mod route;
mod threads;
mod tries;

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::{debug, warn};

pub(crate) use self::files::FileRoom;
use self::{
    outage::{SUSPECT_AFTER, Trouble},
    route::{Route, Step},
    tries::Tries,
};
use crate::{
    backend::{Backend, Gate},
    backoff,
    flush::Completions,
    leases::Deadline,
    message::{EventId, Failure, Message, Outcome, Reply, RoomId, State},
    metrics::Metrics,
    reached::Reached,
    rooms::book::{RoomBook, RoomBooks},
    shutdown::Shutdown,
    store::{Claim, Completion, Held, Settle, Store, Verdict},
};

/// What all lanes of a worker share.
pub(crate) struct Context {
    pub store: Store,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    /// A call is started only if the lease lasts for at least this long: the call's time limit and a margin.
    pub call_needs: Duration,
    pub retry_delay: Duration,
    /// How long Odoo may take for its answer.
    pub http_timeout: Duration,
    /// Space in memory for files that are being transferred from Odoo to a homeserver.
    pub files: FileRoom,
    /// What this process knows about rooms while it follows their changes.
    pub rooms: RoomBooks,
    /// When each homeserver has last done what it was asked.
    pub reached: Reached,
    /// The devices with the keys of the accounts that it follows.
    #[cfg(feature = "encryption")]
    pub devices: crate::crypto::Devices,
    /// What seals the keys of encrypted files.
    #[cfg(feature = "encryption")]
    pub keys: crate::seal::Keys,
}

/// One claim while it is being sent.
pub(crate) struct Delivery<'a> {
    pub context: &'a Context,
    pub completions: &'a Completions,
    pub claim: &'a Claim,
    pub deadline: Deadline,
    pub backend: &'a Backend,
    pub gate: Gate,
    /// The backend is limited, and its slot was taken for this claim.
    pub is_paced: bool,
}

/// What happens after a message.
enum Next {
    /// The lane continues: this many of its messages are finished.
    Done(usize),
    /// The lane is given back.
    Stop(Stop),
}

/// How a lane is given back.
#[derive(Default)]
struct Stop {
    /// The message that holds it up, if that has been tried.
    held: Option<Held>,
    retry_after: Option<Duration>,
}

impl Delivery<'_> {
    /// Sends the claim's messages and gives the lane back.
    pub(crate) async fn run(&self) {
        let mut route = Route::new(self);
        let mut stop = Stop::default();
        let mut waiting = self.claim.messages.as_slice();
        while let [message, behind @ ..] = waiting {
            match self.deliver(message, behind, &mut route).await {
                Next::Done(messages) => waiting = &waiting[messages..],
                Next::Stop(why) => {
                    stop = why;
                    break;
                }
            }
        }
        self.list_direct_room(&route).await;
        let settle = Settle::Release { lease: self.claim.lease(), held: stop.held, rest: stop.retry_after };
        self.completions.settle(settle).await;
    }

    /// Takes one message to its outcome. `behind`: the messages of the claim that wait for it.
    async fn deliver(&self, message: &Message, behind: &[Message], route: &mut Route) -> Next {
        if route.gave_up(message.id) {
            return Next::Done(1);
        }
        let mut tries = Tries::of(message.id, self.claim.held);
        let homeserver = match &self.backend.homeserver {
            Ok(homeserver) => homeserver,
            Err(failure) => return self.stop(message, &tries, State::Misconfigured, failure.clone()).await,
        };
        // One that has expired is not sent anyway, and may be in the room.
        if let Some(failure) = route.closed().filter(|_| !message.is_expired) {
            return self.failed(message, &tries, failure.clone()).await;
        }
        let mut is_retry = false;
        loop {
            if !self.may_call() {
                return self.untouched(message, &tries);
            }
            tries.begin(self.backend);
            let trouble = match route.attempt(self, homeserver, message, &mut tries.attempts).await {
                Step::Answered(Outcome::Sent(event_id)) => return self.sent(message, &tries, event_id, route).await,
                Step::Answered(Outcome::Limited { pause }) => return self.limited(message, &tries, pause).await,
                Step::Answered(Outcome::Unauthorized(failure)) => {
                    return self.stop(message, &tries, State::Unauthorized, failure).await;
                }
                Step::Answered(Outcome::Forbidden(failure) | Outcome::Rejected(failure)) => {
                    return self.failed(message, &tries, failure).await;
                }
                Step::Overtaken => return self.give_up_overtaken(route).await,
                Step::LaneLimited(pause) => return self.rest(message, &tries, pause),
                Step::Unreachable(failure) => return self.hold(message, &tries, failure).await,
                Step::Fenced => return self.untouched(message, &tries),
                // Unless other messages are accepted: a proxy may refuse only the path of this one.
                Step::Answered(Outcome::Misconfigured(failure)) => {
                    if tries.failing_for() < SUSPECT_AFTER && !self.others_pass(&tries).await {
                        return self.stop(message, &tries, State::Misconfigured, failure).await;
                    }
                    Trouble { failure, reply: Reply::Other, state: State::Misconfigured }
                }
                Step::Answered(Outcome::Transient { failure, reply }) => Trouble { failure, reply, state: State::Down },
            };
            tries.first_failed.get_or_insert_with(Instant::now);
            if is_retry {
                return self.exhausted(homeserver, message, behind, &tries, trouble, route).await;
            }
            debug!(message.id, attempt = tries.attempts, failure = %trouble.failure, "Not sent; one retry");
            is_retry = true;
            // The lane stays ours while we wait, so that no other message of the room overtakes this one.
            sleep(backoff::with_jitter(self.context.retry_delay)).await;
        }
    }

    /// What is known about the account's rooms.
    fn book(&self) -> RoomBook {
        self.context.rooms.of(self.backend.id)
    }

    /// Whether a room is the one that the lane had when it was claimed.
    fn is_own_room(&self, room: &RoomId) -> bool {
        match &self.claim.room {
            Some(own) => own == room,
            None => self.claim.lane.as_str().split_once('/').is_some_and(|(_, own)| own == room.as_str()),
        }
    }

    /// Whether another call may be started now.
    fn may_call(&self) -> bool {
        !self.gate.is_closed() && !self.context.shutdown.is_draining() && self.deadline.leaves(self.context.call_needs)
    }

    async fn sent(&self, message: &Message, tries: &Tries, event_id: EventId, route: &mut Route) -> Next {
        route.made(message, &event_id);
        self.backend.passed(tries.began);
        self.context.reached.succeeded(self.backend.id, tries.began);
        let duration = tries.began.elapsed();
        debug!(message.id, attempt = tries.attempts, duration_ms = duration.as_millis(), "Sent");
        if self.is_paced
            && let Err(error) = self.context.store.eased(self.backend.id).await
        {
            warn!(%error, "The pace of a limited backend could not be eased");
        }
        let sent = self.completion(message, tries, Verdict::Sent(event_id), duration, route.known());
        let sent = Completion { note: route.note(message.id).cloned(), ..sent };
        #[cfg(feature = "encryption")]
        if let Some(naming) = route.naming(message.id) {
            encrypted::name(self, sent, naming).await;
            return Next::Done(1);
        }
        self.completions.complete(sent).await;
        Next::Done(1)
    }

    async fn failed(&self, message: &Message, tries: &Tries, failure: Failure) -> Next {
        warn!(message.id, attempt = tries.attempts, matrix.errcode = failure.code, "Not sent, and will not be");
        self.complete(message, tries, Verdict::Failed(failure), tries.since.elapsed(), None).await;
        Next::Done(1)
    }

    /// The account is limited and pauses as a whole. This is neither an attempt nor a failure.
    async fn limited(&self, message: &Message, tries: &Tries, pause: Duration) -> Next {
        self.gate.close();
        debug!(pause_ms = pause.as_millis(), "The homeserver limits the account");
        let store = &self.context.store;
        self.context.metrics.rate_limited.inc();
        match store.limited(self.backend.id, self.backend.config_version, pause).await {
            Ok(()) => self.gate.recorded(),
            Err(error) => {
                warn!(%error, "The pause of a limited backend could not be recorded; it is kept here");
                self.gate.unrecorded(pause);
            }
        }
        self.untouched(message, tries)
    }

    /// The message waits, and its attempts so far stay counted.
    fn untouched(&self, message: &Message, tries: &Tries) -> Next {
        Next::Stop(Stop { held: self.tried(message, tries), retry_after: None })
    }

    /// The homeserver limits what this room needs, an invitation or a join: other rooms continue.
    fn rest(&self, message: &Message, tries: &Tries, pause: Duration) -> Next {
        debug!(pause_ms = pause.as_millis(), "The homeserver limits this room");
        Next::Stop(Stop { held: self.tried(message, tries), retry_after: Some(pause) })
    }

    fn tried(&self, message: &Message, tries: &Tries) -> Option<Held> {
        // If this message was committed late, the lane's head is a later message, which keeps its own attempts.
        let is_before_head = self.claim.held.is_some_and(|held| held.id > message.id);
        let is_known = tries.attempts > 0 && !is_before_head;
        is_known.then_some(Held { id: message.id, attempts: tries.attempts, error: None, begins_anew: false })
    }

    async fn complete(
        &self,
        message: &Message,
        tries: &Tries,
        verdict: Verdict,
        duration: Duration,
        room: Option<&RoomId>,
    ) {
        self.completions.complete(self.completion(message, tries, verdict, duration, room)).await;
    }

    fn completion(
        &self,
        message: &Message,
        tries: &Tries,
        verdict: Verdict,
        duration: Duration,
        room: Option<&RoomId>,
    ) -> Completion {
        Completion {
            id: message.id,
            lease: self.claim.lease(),
            verdict,
            note: None,
            attempts: tries.attempts,
            duration_ms: duration.as_millis().try_into().unwrap_or(i32::MAX),
            room: room.cloned(),
            answered: Instant::now(),
            event_type: message.event_type.clone(),
            queued_for: message.queued_for + self.claim.claimed.elapsed(),
        }
    }
}
