//! Where a lane's messages really go: the room itself, the one that replaced it, or the direct room with a person.

use std::{collections::BTreeMap, time::Duration};

use tracing::{info, warn};

use super::{Delivery, outage::SUSPECT_AFTER};
use crate::{
    failpoint::{self, Point},
    matrix::{Homeserver, SendError},
    message::{EventId, Failure, Message, MessageId, Outcome, RoomId, Target, UserId, code},
    rooms::{
        diagnosis::{self, Diagnosis},
        direct,
    },
    store::{Batch, Settle},
};

/// A lane rests at least so long: a homeserver may limit it without saying for how long, again and again.
const SHORTEST_REST: Duration = Duration::from_secs(1);

const ENCRYPTED: &str = "the room is encrypted, and nobody has allowed messages that are not";

const OVERTAKEN: &str = "the room has taken a later message although it did not take this one again and again";

/// What one claim of a lane knows of its room. Each look is taken once per claim.
#[derive(Default)]
pub(super) struct Route {
    /// Another room than the one that the messages name, or a person's.
    room: Option<RoomId>,
    is_diagnosed: bool,
    /// A message was perhaps tried past this one, which the lane has waited for.
    suspect: Option<MessageId>,
    /// No message of this claim can pass.
    closed: Option<Failure>,
    markers: Option<BTreeMap<String, EventId>>,
    /// The person's room was encrypted, and another one was looked for.
    has_left_encrypted: bool,
}

/// What came of one attempt.
pub(super) enum Step {
    Answered(Outcome),
    /// This lane is limited, other rooms go on.
    LaneLimited(Duration),
    /// Another worker has the lane now, or may have it, or nobody may send.
    Fenced,
}

/// What came of one PUT.
enum Tried {
    Answered(Outcome),
    /// What stood in the way is gone: to be tried again.
    Repaired,
}

impl From<SendError> for Step {
    /// A 429 from anything but the sending of a message limits the lane, not the account.
    fn from(error: SendError) -> Self {
        match error.outcome_elsewhere() {
            Outcome::Limited { pause } => Self::LaneLimited(pause.max(SHORTEST_REST)),
            other => Self::Answered(other),
        }
    }
}

impl Route {
    pub(super) fn new(delivery: &Delivery<'_>) -> Self {
        let suspect = delivery.claim.held.filter(|held| held.failing_for.is_some_and(|time| time >= SUSPECT_AFTER));
        Self { room: delivery.claim.room.clone(), suspect: suspect.map(|held| held.id), ..Self::default() }
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
                Ok(Tried::Answered(outcome)) => return Step::Answered(outcome),
                Ok(Tried::Repaired) => {}
                Err(step) => {
                    // A look that failed has kept the message back as a failed PUT would have.
                    *attempts += i32::from(matches!(step, Step::Answered(_)));
                    return step;
                }
            }
        }
    }

    /// One PUT, with the looks that it needs. Repairs come to an end, because there is one diagnosis per claim.
    async fn try_once(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        attempts: &mut i32,
    ) -> Result<Tried, Step> {
        let room = match (&self.room, &message.target) {
            (Some(room), _) | (None, Target::Room(room)) => room.clone(),
            (None, Target::Person(person)) => {
                let room = direct_room(delivery, homeserver, person).await?;
                self.room.insert(room).clone()
            }
        };
        if !message.may_be_unencrypted && is_encrypted(delivery, homeserver, &room).await? {
            if matches!(message.target, Target::Person(_)) && !std::mem::replace(&mut self.has_left_encrypted, true) {
                self.room = None;
                return Ok(Tried::Repaired);
            }
            return Ok(Tried::Answered(Outcome::Rejected(Failure::new(code::ENCRYPTED, ENCRYPTED))));
        }
        if let Some(outcome) = self.known_already(delivery, homeserver, &room, message).await? {
            return Ok(Tried::Answered(outcome));
        }
        // Each look before this took its time.
        if !delivery.may_call() {
            return Err(Step::Fenced);
        }
        failpoint::reach(Point::BeforePut).await;
        let answer = homeserver.send(&room, message).await;
        failpoint::reach(Point::AnswerRead).await;
        let outcome = answer.map_or_else(|error| error.outcome(), Outcome::Sent);
        // A limit is no attempt.
        *attempts += i32::from(!matches!(outcome, Outcome::Limited { .. }));
        let Outcome::Forbidden(refusal) = outcome else { return Ok(Tried::Answered(outcome)) };
        if self.is_diagnosed {
            return Ok(Tried::Answered(Outcome::Forbidden(refusal)));
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
    ) -> Result<Tried, Step> {
        let lane = &delivery.claim.lane;
        let me = delivery.backend.me(homeserver).await?;
        let diagnosis = diagnosis::diagnose(homeserver, &me, room, &message.matrix_type, &refusal).await?;
        // Not before: a look that was not answered says nothing of the room.
        self.is_diagnosed = true;
        match diagnosis {
            Diagnosis::Joined => {
                info!(%lane, "Joined the room that the account was invited to");
                Ok(Tried::Repaired)
            }
            Diagnosis::Moved(new) => {
                info!(%lane, "The room was replaced; following to the new one");
                keep(delivery, &new).await?;
                self.room = Some(new);
                Ok(Tried::Repaired)
            }
            Diagnosis::Unknown(failure) => Ok(Tried::Answered(Outcome::Rejected(failure))),
            // The person or we have left the direct room: there is to be another one.
            Diagnosis::Closed(_) if matches!(message.target, Target::Person(_)) => {
                self.room = None;
                Ok(Tried::Repaired)
            }
            Diagnosis::Closed(failure) => {
                self.closed = Some(failure.clone());
                Ok(Tried::Answered(Outcome::Rejected(failure)))
            }
        }
    }

    /// What the room's recent events say of a message that may have been sent before without our knowing.
    async fn known_already(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        room: &RoomId,
        message: &Message,
    ) -> Result<Option<Outcome>, Step> {
        if !message.is_past_dedup && self.suspect.is_none() {
            return Ok(None);
        }
        if self.markers.is_none() {
            self.markers = Some(match homeserver.recent_markers(room).await {
                Ok(markers) => markers,
                // Who may not read the room may not send to it either: the PUT tells, and is diagnosed.
                Err(error) if matches!(error.outcome(), Outcome::Forbidden(_)) => BTreeMap::new(),
                // A suspect's transaction id is known to the homeserver: the PUT tells as well.
                Err(_) if !message.is_past_dedup => return Ok(None),
                Err(error) => return Err(error.into()),
            });
        }
        let event_of = |message: &Message| self.markers.as_ref()?.get(message.txn_id.as_str()).cloned();
        if let Some(event_id) = event_of(message) {
            return Ok(Some(Outcome::Sent(event_id)));
        }
        let is_behind = |other: &&Message| other.id > message.id;
        let is_overtaken = self.suspect == Some(message.id)
            && delivery.claim.messages.iter().filter(is_behind).any(|other| event_of(other).is_some());
        Ok(is_overtaken.then(|| Outcome::Rejected(Failure::new(code::OVERTAKEN, OVERTAKEN))))
    }

    /// The event of a message among the room's recent ones, looked up anew.
    pub(super) async fn found(&self, homeserver: &Homeserver, message: &Message) -> Option<EventId> {
        let room = match (&self.room, &message.target) {
            (Some(room), _) | (None, Target::Room(room)) => room,
            (None, Target::Person(_)) => return None,
        };
        homeserver.recent_markers(room).await.ok()?.remove(message.txn_id.as_str())
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

async fn direct_room(delivery: &Delivery<'_>, homeserver: &Homeserver, person: &UserId) -> Result<RoomId, Step> {
    let me = delivery.backend.me(homeserver).await?;
    let room = match direct::find(homeserver, &me, person).await? {
        Some(room) => room,
        // Not by a worker whose lease may have gone: its successor makes the room.
        None if !delivery.may_call() => return Err(Step::Fenced),
        None => homeserver.create_direct_room(person).await?,
    };
    // Stored before anything else is tried with it: a second createRoom would make a second room.
    let kept = keep(delivery, &room).await;
    // Where that failed, the next claim finds it here.
    if let Err(error) = direct::remember(homeserver, &me, person, &room).await {
        warn!(%error, lane = %delivery.claim.lane, "The direct room could not be put into the account's m.direct");
    }
    kept.map(|()| room)
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
