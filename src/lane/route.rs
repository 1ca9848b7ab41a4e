//! Where a lane's messages go: the room itself, the one that replaced it, or the direct room with a person.

mod bind;
mod direct;
mod known;
mod secrecy;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use tracing::info;

use self::{bind::keep, direct::Ready};
use super::{
    Delivery,
    changes::{self, Made},
    files,
    look::Look,
    outage::SUSPECT_AFTER,
    threads::{Place, Threads},
};
use crate::{
    failpoint::{self, Point},
    matrix::{Homeserver, SendError},
    message::{EventId, Failure, Message, MessageId, Outcome, RoomId, Target},
    rooms::diagnosis::{self, Diagnosis},
};

/// A lane rests for at least this long, because a homeserver may limit it again and again without saying for how long.
pub(super) const SHORTEST_REST: Duration = Duration::from_secs(1);

const NOT_ALLOWED: &str = "the room is encrypted, and nobody has allowed messages that are not";

/// What one claim of a lane knows about its room. Each check is made once per claim.
#[derive(Default)]
pub(super) struct Route {
    /// The room that replaced the one in the messages' rows, or a person's room.
    room: Option<RoomId>,
    is_diagnosed: bool,
    /// A message has held up the lane for so long that others may have been tried past it.
    is_suspect: bool,
    /// Messages that have failed although a later one that still waits is in the room. Looked up only if the lane is suspect.
    overtaken: Option<Vec<MessageId>>,
    /// Those messages have been given up.
    has_given_up: bool,
    /// Why no message of this claim can be sent.
    closed: Option<Failure>,
    markers: Option<BTreeMap<String, EventId>>,
    /// The room that was checked before the first message, and whether it was encrypted then.
    looked_at: Option<(RoomId, bool)>,
    /// The messages of the claim that may be sent unencrypted to an encrypted room.
    consents: Option<HashSet<MessageId>>,
    /// The person's room, once this claim has checked it.
    ready: Option<Ready>,
    /// A direct room with the person that cannot be used.
    unusable: Option<RoomId>,
    /// The person's account exists.
    exists: bool,
    /// The room could not be read before the message was sent. Odoo joins rooms too, when it checks them.
    was_outside: bool,
    /// The events of the messages that this claim has sent.
    made: Made,
    /// What the log says about messages that were sent.
    notes: HashMap<MessageId, Failure>,
    /// It has given up messages because nobody in the room can read them.
    #[cfg(feature = "encryption")]
    nobody_reads: bool,
    /// Whom the delivery of the last message has to name.
    #[cfg(feature = "encryption")]
    naming: Option<(MessageId, super::encrypted::Naming)>,
    /// The encrypted room that this claim has sent to, which is stored as encrypted.
    remembered: Option<RoomId>,
    /// The threads that this claim has looked at.
    threads: Threads,
}

/// The result of one attempt.
pub(super) enum Step {
    Answered(Outcome),
    /// The room has accepted a later message although this one, and perhaps others, have failed: they are to be given up.
    Overtaken,
    /// This lane is limited; other rooms continue.
    LaneLimited(Duration),
    /// Something that this lane needs is not available at present; other lanes continue.
    Unreachable(Failure),
    /// Another worker has the lane now, or may have it, or sending is not allowed.
    Fenced,
}

/// The result of one PUT.
enum Tried {
    Answered(Outcome),
    /// The obstacle is gone: try again.
    Repaired,
}

/// The result of the check before the first message.
enum Seen {
    Usable,
    Encrypted,
    /// Nothing may be sent to this room any more.
    Replaced(Tried),
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
        let failing_for = delivery.claim.held.and_then(|held| held.failing_for);
        let is_suspect = failing_for.is_some_and(|time| time >= SUSPECT_AFTER);
        Self { room: delivery.claim.room.clone(), is_suspect, ..Self::default() }
    }

    /// The room to use instead of the one in the row, if there is one.
    pub(super) fn known(&self) -> Option<&RoomId> {
        self.room.as_ref()
    }

    /// The message is in the room as `event_id`: later ones of this claim may change it.
    pub(super) fn made(&mut self, message: &Message, event_id: &EventId) {
        self.made.insert(message.txn_id.clone(), event_id.clone());
    }

    /// What the log says about a message that was sent.
    pub(super) fn note(&self, id: MessageId) -> Option<&Failure> {
        self.notes.get(&id)
    }

    #[cfg(feature = "encryption")]
    pub(super) fn naming(&self, id: MessageId) -> Option<&super::encrypted::Naming> {
        self.naming.as_ref().filter(|(message, _)| *message == id).map(|(_, naming)| naming)
    }

    /// Why no message of this claim can be sent.
    pub(super) fn closed(&self) -> Option<&Failure> {
        self.closed.as_ref()
    }

    /// Sends `message` once; a 403 is diagnosed and, if its cause could be fixed, followed by another try.
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
                    // A failed check holds the message back just as a failed PUT does.
                    *attempts += i32::from(matches!(step, Step::Answered(_)));
                    return step;
                }
            }
        }
    }

    /// One PUT, with the checks that it needs. This cannot go on for ever, because there is only one diagnosis per
    /// claim.
    async fn try_once(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        attempts: &mut i32,
    ) -> Result<Tried, Step> {
        if message.is_expired {
            return self.expired(delivery, homeserver, message).await.map(Tried::Answered);
        }
        let (room, is_encrypted) = match &message.target {
            Target::Nowhere(failure) => return Ok(Tried::Answered(Outcome::Rejected(failure.clone()))),
            Target::Person(person) => self.direct_room(delivery, homeserver, message, person).await?,
            Target::Room(room) => {
                let room = self.room.as_ref().unwrap_or(room).clone();
                match self.look(delivery, homeserver, message, &room).await? {
                    Seen::Encrypted => (room, true),
                    Seen::Usable => (room, false),
                    Seen::Replaced(tried) => return Ok(tried),
                }
            }
        };
        // A homeserver that denies later that the room is encrypted is not believed.
        let is_encrypted = is_encrypted || self.was_encrypted(delivery, &room);
        let encrypts = is_encrypted && delivery.backend.encrypts;
        // A person's room was chosen with that in mind.
        let needs_consent = is_encrypted && !encrypts && matches!(message.target, Target::Room(_));
        if needs_consent && !self.may_be_readable(delivery, message, &room).await? {
            return Ok(Tried::Answered(secrecy::refused(delivery, NOT_ALLOWED)));
        }
        #[cfg(feature = "encryption")]
        if encrypts && !self.was_encrypted(delivery, &room) {
            super::encrypted::remember(delivery, &room).await?;
            self.remembered = Some(room.clone());
        }
        if let Some(outcome) = self.known_already(delivery, homeserver, &room, message).await? {
            return Ok(Tried::Answered(outcome));
        }
        let subject = changes::subject(delivery, message, &room, &self.made).await?;
        let message = &*files::uploaded(delivery, homeserver, message, encrypts).await?;
        let place = Place::of(delivery, homeserver, message, &room, &mut self.threads).await?;
        let message = &*place.put(message);
        let answer = self.put(delivery, homeserver, message, &room, subject.as_ref(), encrypts).await?;
        failpoint::reach(Point::AnswerRead).await;
        let outcome = answer.map_or_else(|error| error.outcome(), Outcome::Sent);
        // A limited request does not count as an attempt.
        *attempts += i32::from(!matches!(outcome, Outcome::Limited { .. }));
        match &outcome {
            Outcome::Sent(event_id) => place.sent(delivery, message, &room, event_id, &mut self.threads).await,
            Outcome::Rejected(_) if place.refused(message, &mut self.threads) => return Ok(Tried::Repaired),
            _ => {}
        }
        let Outcome::Forbidden(refusal) = outcome else { return Ok(Tried::Answered(outcome)) };
        if self.is_diagnosed {
            return Ok(Tried::Answered(Outcome::Forbidden(refusal)));
        }
        self.diagnose(delivery, homeserver, message, &room, refusal).await
    }

    async fn put(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        room: &RoomId,
        subject: Option<&EventId>,
        encrypts: bool,
    ) -> Result<Result<EventId, SendError>, Step> {
        // The checks before this took time.
        if !delivery.may_call() {
            return Err(Step::Fenced);
        }
        #[cfg(feature = "encryption")]
        if encrypts {
            let nobody_reads = &mut self.nobody_reads;
            let sent = super::encrypted::send(delivery, homeserver, room, message, subject, nobody_reads).await?;
            self.notes.extend(sent.note.map(|note| (message.id, note)));
            self.naming = sent.naming.map(|naming| (message.id, naming));
            return Ok(sent.answer);
        }
        assert!(!encrypts, "a worker without encryption sends nothing that was to be encrypted");
        failpoint::reach(Point::BeforePut).await;
        Ok(match subject {
            None => homeserver.send(room, message).await,
            Some(subject) => changes::send(homeserver, room, message, subject).await,
        })
    }

    /// Checks the room before the claim's first message to it.
    async fn look(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        room: &RoomId,
    ) -> Result<Seen, Step> {
        let is_encrypted = match &self.looked_at {
            Some((seen, is_encrypted)) if seen == room => *is_encrypted,
            _ => {
                let look = Look::at(homeserver, &delivery.book(), room).await?;
                if let Some(tombstone) = look.tombstone {
                    let me = delivery.backend.me(homeserver).await?;
                    let secrecy = self.secrecy(delivery, message, room).await?;
                    let may_call = || delivery.may_call();
                    let diagnosis = diagnosis::replaced(homeserver, &me, room, &tombstone, secrecy, &may_call).await?;
                    return self.treat(delivery, homeserver, message, diagnosis).await.map(Seen::Replaced);
                }
                self.was_outside = !look.is_seen;
                self.looked_at = Some((room.clone(), look.is_encrypted));
                look.is_encrypted
            }
        };
        Ok(if is_encrypted { Seen::Encrypted } else { Seen::Usable })
    }

    async fn diagnose(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        room: &RoomId,
        refusal: Failure,
    ) -> Result<Tried, Step> {
        let me = delivery.backend.me(homeserver).await?;
        let secrecy = self.secrecy(delivery, message, room).await?;
        let (kind, may_call) = (&message.matrix_type, || delivery.may_call());
        let diagnosis = diagnosis::diagnose(homeserver, &me, room, kind, &refusal, secrecy, &may_call).await?;
        // Only now, because a check that was not answered says nothing about the room.
        self.is_diagnosed = true;
        self.treat(delivery, homeserver, message, diagnosis).await
    }

    /// Acts on a diagnosis.
    async fn treat(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        diagnosis: Diagnosis,
    ) -> Result<Tried, Step> {
        match diagnosis {
            Diagnosis::Joined => {
                info!("Joined the room that the account was invited to");
                // Whether it is encrypted can be read only from inside.
                self.looked_at = None;
                Ok(Tried::Repaired)
            }
            Diagnosis::Moved(new) => {
                info!("The room was replaced; following to the new one");
                keep(delivery, &new).await?;
                self.room = Some(new);
                Ok(Tried::Repaired)
            }
            Diagnosis::Inside(_) if self.was_outside => {
                info!("Somebody else has joined the room for the account meanwhile");
                self.looked_at = None;
                Ok(Tried::Repaired)
            }
            Diagnosis::Inside(failure) | Diagnosis::Unknown(failure) => Ok(Tried::Answered(Outcome::Rejected(failure))),
            Diagnosis::Late => Err(Step::Fenced),
            // The room was usable a moment ago and is not any more: another one is needed.
            Diagnosis::Closed(_) | Diagnosis::Awaited(_) if matches!(message.target, Target::Person(_)) => {
                self.give_up_direct_room();
                Ok(Tried::Repaired)
            }
            Diagnosis::Awaited(failure) if !delivery.is_given_up(homeserver, message, &failure).await => {
                Err(Step::Unreachable(failure))
            }
            Diagnosis::Closed(failure) | Diagnosis::Awaited(failure) => {
                self.closed = Some(failure.clone());
                Ok(Tried::Answered(Outcome::Rejected(failure)))
            }
        }
    }
}
