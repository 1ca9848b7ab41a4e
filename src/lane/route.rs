//! Where a lane's messages really go: the room itself, the one that replaced it, or the direct room with a person.

mod direct;

use std::{collections::BTreeMap, time::Duration};

use tracing::{info, warn};

use self::direct::Ready;
use super::{
    Delivery,
    changes::{self, Made},
};
use crate::{
    failpoint::{self, Point},
    matrix::{Homeserver, SendError},
    message::{EventId, Failure, Message, Outcome, RoomId, Target, code},
    rooms::diagnosis::{self, Diagnosis},
    store::{Batch, Settle},
};

/// A lane rests at least so long: a homeserver may limit it without saying for how long, again and again.
pub(super) const SHORTEST_REST: Duration = Duration::from_secs(1);

const ENCRYPTED: &str = "the room is encrypted, and nobody has allowed messages that are not";

/// What one claim of a lane knows of its room. Each look is taken once per claim.
#[derive(Default)]
pub(super) struct Route {
    /// Another room than the one that the messages name, or a person's.
    room: Option<RoomId>,
    is_diagnosed: bool,
    /// No message of this claim can pass.
    closed: Option<Failure>,
    markers: Option<BTreeMap<String, EventId>>,
    /// The person's room, seen in this claim.
    ready: Option<Ready>,
    /// The room with the person that does not take messages.
    unusable: Option<RoomId>,
    /// The person has an account.
    exists: bool,
    /// What the messages of this claim made.
    made: Made,
}

/// What came of one attempt.
pub(super) enum Step {
    Answered(Outcome),
    /// This lane is limited, other rooms go on.
    LaneLimited(Duration),
    /// What this lane needs cannot be had at present, others go on.
    Unreachable(Failure),
    /// Another worker has the lane now, or may have it, or nobody may send.
    Fenced,
}

impl From<SendError> for Step {
    /// A 429 from anything but the sending of a message limits the lane, not the account.
    fn from(error: SendError) -> Self {
        match error.outcome() {
            Outcome::Limited { pause } => Self::LaneLimited(pause.max(SHORTEST_REST)),
            other => Self::Answered(other),
        }
    }
}

impl Route {
    pub(super) fn new(delivery: &Delivery<'_>) -> Self {
        Self { room: delivery.claim.room.clone(), ..Self::default() }
    }

    /// The room that is not the one in the row, if there is one.
    pub(super) fn known(&self) -> Option<&RoomId> {
        self.room.as_ref()
    }

    /// Why no message of this claim can pass.
    pub(super) fn closed(&self) -> Option<&Failure> {
        self.closed.as_ref()
    }

    /// Sends `message` once; a 403 is diagnosed and, where it could be mended, followed by one more try.
    pub(super) async fn attempt(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        attempts: &mut i32,
    ) -> Step {
        loop {
            match self.try_once(delivery, homeserver, message, attempts).await {
                Ok(Some(outcome)) => {
                    if let Outcome::Sent(event_id) = &outcome {
                        self.made.insert(message.txn_id.clone(), event_id.clone());
                    }
                    return Step::Answered(outcome);
                }
                Ok(None) => {}
                Err(step) => return step,
            }
        }
    }

    /// `None`: something was mended, to be tried again. Ends, because there is one diagnosis per claim.
    async fn try_once(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        attempts: &mut i32,
    ) -> Result<Option<Outcome>, Step> {
        let room = match &message.target {
            Target::Person(person) => self.direct_room(delivery, homeserver, message, person).await?,
            Target::Room(room) => {
                let room = self.room.as_ref().unwrap_or(room).clone();
                if !message.may_be_unencrypted && is_encrypted(delivery, homeserver, &room).await? {
                    return Ok(Some(Outcome::Rejected(Failure::new(code::ENCRYPTED, ENCRYPTED))));
                }
                room
            }
        };
        if let Some(event_id) = self.already_sent(homeserver, &room, message).await? {
            return Ok(Some(Outcome::Sent(event_id)));
        }
        let subject = changes::subject(delivery, message, &room, &self.made).await?;
        // Each look before this took its time.
        if !delivery.may_call() {
            return Err(Step::Fenced);
        }
        failpoint::reach(Point::BeforePut).await;
        let answer = match &subject {
            None => homeserver.send(&room, message).await,
            Some(subject) => changes::send(homeserver, &room, message, subject).await,
        };
        failpoint::reach(Point::AnswerRead).await;
        let outcome = answer.map_or_else(|error| error.outcome(), Outcome::Sent);
        // A limit is no attempt.
        *attempts += i32::from(!matches!(outcome, Outcome::Limited { .. }));
        let Outcome::Forbidden(refusal) = outcome else { return Ok(Some(outcome)) };
        if self.is_diagnosed {
            return Ok(Some(Outcome::Forbidden(refusal)));
        }
        self.diagnose(delivery, homeserver, message, &room, refusal).await
    }

    async fn diagnose(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        room: &RoomId,
        refusal: Failure,
    ) -> Result<Option<Outcome>, Step> {
        let lane = &delivery.claim.lane;
        let me = delivery.backend.me(homeserver).await?;
        let diagnosis = diagnosis::diagnose(homeserver, &me, room, &message.matrix_type, &refusal).await?;
        // Not before: a look that was not answered says nothing of the room.
        self.is_diagnosed = true;
        match diagnosis {
            Diagnosis::Joined => {
                info!(%lane, "Joined the room that the account was invited to");
                Ok(None)
            }
            Diagnosis::Moved(new) => {
                info!(%lane, "The room was replaced; following to the new one");
                keep(delivery, &new).await?;
                self.room = Some(new);
                Ok(None)
            }
            Diagnosis::Unknown(failure) => Ok(Some(Outcome::Rejected(failure))),
            // Seen before the message, but it may have been closed since: there is to be another one.
            Diagnosis::Closed(_) if matches!(message.target, Target::Person(_)) => {
                self.give_up_direct_room();
                Ok(None)
            }
            Diagnosis::Closed(failure) => {
                self.closed = Some(failure.clone());
                Ok(Some(Outcome::Rejected(failure)))
            }
        }
    }

    /// The event that a message of a day ago already made, if the room's recent events have it.
    async fn already_sent(
        &mut self,
        homeserver: &Homeserver,
        room: &RoomId,
        message: &Message,
    ) -> Result<Option<EventId>, Step> {
        if !message.is_past_dedup {
            return Ok(None);
        }
        if self.markers.is_none() {
            self.markers = Some(match homeserver.recent_markers(room).await {
                Ok(markers) => markers,
                // Who may not read the room may not send to it either: the PUT tells, and is diagnosed.
                Err(error) if matches!(error.outcome(), Outcome::Forbidden(_)) => BTreeMap::new(),
                Err(error) => return Err(error.into()),
            });
        }
        Ok(self.markers.as_ref().and_then(|markers| markers.get(message.txn_id.as_str())).cloned())
    }
}

async fn is_encrypted(delivery: &Delivery<'_>, homeserver: &Homeserver, room: &RoomId) -> Result<bool, Step> {
    match delivery.backend.is_encrypted(homeserver, room).await {
        Ok(is_encrypted) => Ok(is_encrypted),
        // Who may not look into the room may not send to it either: the PUT tells, and is diagnosed.
        Err(error) if matches!(error.outcome(), Outcome::Forbidden(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Stores the lane's room.
async fn keep(delivery: &Delivery<'_>, room: &RoomId) -> Result<(), Step> {
    let settle = Settle {
        lane: delivery.claim.lane.clone(),
        epoch: delivery.claim.epoch,
        is_released: false,
        retry_after: None,
        held: None,
        room: Some(room.clone()),
    };
    match delivery.context.store.complete(&Batch { completions: Vec::new(), settles: vec![settle] }).await {
        Ok(owned) if owned.is_empty() => Err(Step::Fenced),
        Ok(_) => Ok(()),
        Err(error) => {
            warn!(%error, lane = %delivery.claim.lane, "The lane's room could not be stored");
            Err(Step::LaneLimited(SHORTEST_REST))
        }
    }
}
