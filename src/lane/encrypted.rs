//! Messages for encrypted rooms: encrypted right before they are sent, by the worker that has the account's keys.

use std::sync::Arc;

use tracing::warn;

use super::{
    Delivery, changes,
    outage::GIVEN_UP_AFTER,
    route::{SHORTEST_REST, Step},
};
use crate::{
    crypto::{CryptoError, Device, Encrypted, EncryptedRoom, Holding, NoKey, Opened, Unverified},
    failpoint::{self, Point},
    matrix::{Homeserver, SendError},
    message::{EventId, Failure, Message, Outcome, RoomId, code},
    store::Completion,
};

/// The answer to an encrypted message.
pub(super) struct Sent {
    pub(super) answer: Result<EventId, SendError>,
    /// Who in the room cannot read it, or can without being verified.
    pub(super) note: Option<Failure>,
    pub(super) naming: Option<Naming>,
}

/// Who can read a sent message without being verified.
pub(super) struct Naming {
    device: Arc<Device>,
    room: Arc<EncryptedRoom>,
    unverified: Unverified,
}

/// Writes the result of a message. Only once the database has it, the same is not named again: a worker that takes over from one that died
/// before names it.
pub(super) async fn name(delivery: &Delivery<'_>, sent: Completion, naming: &Naming) {
    if delivery.completions.commit(sent).await
        && let Err(error) = naming.device.has_named(&naming.room, &naming.unverified).await
    {
        warn!(%error, "The next delivery says again who can read without being verified");
    }
}

/// Remembers that a room is encrypted, before anything is sent there: from now on only the worker that has the keys gets its lane.
pub(super) async fn remember(delivery: &Delivery<'_>, room: &RoomId) -> Result<(), Step> {
    delivery.context.store.saw_encrypted(delivery.backend.id, room).await.map_err(|error| {
        warn!(%error, "That a room is encrypted could not be stored");
        Step::LaneLimited(SHORTEST_REST)
    })
}

/// Encrypts `message`, which changes `subject` if there is one, and sends it. `nobody_reads`: this claim has given up messages because nobody in
/// the room can read them.
pub(super) async fn send(
    delivery: &Delivery<'_>,
    homeserver: &Homeserver,
    room: &RoomId,
    message: &Message,
    subject: Option<&EventId>,
    nobody_reads: &mut bool,
) -> Result<Sent, Step> {
    let opened = match delivery.context.devices.of(delivery.backend.id) {
        Some(Holding::Open(opened)) if opened.config_version == delivery.backend.config_version => opened,
        // What is encrypted with one device is not sent with the token of another one: it is opened anew within seconds.
        Some(Holding::Open(_)) => return Err(Step::LaneLimited(SHORTEST_REST)),
        Some(Holding::Refused(reason)) => return Err(Step::Unreachable(Failure::new(code::ENCRYPTION, reason))),
        Some(Holding::Away(error)) => return Err(of_account(error)),
        // Another worker has the keys, or the device is being opened.
        None => return Err(Step::Fenced),
    };
    if let Some(subject) = subject.filter(|_| changes::is_redaction(message)) {
        // The homeserver itself removes the text, so it has to see what is to be removed.
        return Ok(Sent { answer: homeserver.redact(room, subject, message).await, note: None, naming: None });
    }
    let may_call = || delivery.may_call() && opened.deadline.leaves(delivery.context.call_needs);
    let seen = match seen(delivery, &opened, room, &may_call).await {
        // A room that we are not in: the cause is diagnosed as for other messages.
        Err(CryptoError::Homeserver(error)) if matches!(error.outcome(), Outcome::Forbidden(_)) => {
            return Ok(Sent { answer: Err(error), note: None, naming: None });
        }
        seen => seen,
    };
    let content = changes::content(message, subject);
    let encrypted = match seen {
        Ok(seen) => {
            opened.device.encrypt(&seen, &message.matrix_type, &content, &may_call).await.map(|done| (seen, done))
        }
        Err(error) => Err(error),
    };
    let (seen, Encrypted { content, no_key, unverified }) = match encrypted {
        Ok(encrypted) => encrypted,
        Err(error) => return Err(failed(delivery, homeserver, message, &opened.device, error).await),
    };
    if let Some(no_key) = no_key.as_ref().filter(|no_key| no_key.is_nobody) {
        let failure = Failure::new(code::NO_KEY, format!("nobody in the room can read it: {no_key}"));
        let waited = message.queued_for + delivery.claim.claimed.elapsed();
        // It has waited behind the one before for the same.
        let step = if *nobody_reads && waited >= GIVEN_UP_AFTER {
            Step::Answered(Outcome::Rejected(failure))
        } else {
            delivery.awaits(homeserver, message, failure).await
        };
        *nobody_reads = matches!(step, Step::Answered(_));
        return Err(step);
    }
    if !delivery.may_call() {
        return Err(Step::Fenced);
    }
    failpoint::reach(Point::BeforePut).await;
    let answer = homeserver.send_encrypted(room, &message.txn_id, content).await;
    let naming = unverified.clone().filter(|_| answer.is_ok());
    let naming = naming.map(|unverified| Naming { device: opened.device.clone(), room: seen, unverified });
    Ok(Sent { answer, note: note(no_key, unverified), naming })
}

/// What a delivery says about who can read the message.
fn note(no_key: Option<NoKey>, unverified: Option<Unverified>) -> Option<Failure> {
    let code = if no_key.is_some() { code::NO_KEY } else { code::UNVERIFIED };
    let without = no_key.map(|no_key| format!("not readable for {no_key}"));
    let parts: Vec<_> = without.into_iter().chain(unverified.map(|unverified| unverified.to_string())).collect();
    (!parts.is_empty()).then(|| Failure::new(code, format!("delivered; {}", parts.join("; "))))
}

/// Who should be able to read what is written in the room.
async fn seen(
    delivery: &Delivery<'_>,
    opened: &Opened,
    room: &RoomId,
    may_call: &(dyn Fn() -> bool + Sync),
) -> Result<Arc<EncryptedRoom>, CryptoError> {
    let book = delivery.book();
    if let Some(seen) = book.encryption(room) {
        return Ok(seen);
    }
    let mark = book.mark();
    let seen = Arc::new(opened.device.room(room, may_call).await?);
    book.saw_encryption(mark, room, &seen);
    Ok(seen)
}

async fn failed(
    delivery: &Delivery<'_>,
    homeserver: &Homeserver,
    message: &Message,
    device: &Arc<Device>,
    error: CryptoError,
) -> Step {
    if error.ends_the_device() {
        warn!(%error, "The keys of the account are read again");
        delivery.context.devices.give_up(delivery.backend.id, device);
        return Step::LaneLimited(SHORTEST_REST);
    }
    match error {
        CryptoError::Homeserver(error) => of_keys(delivery, homeserver, message, error).await,
        CryptoError::Account(error) | CryptoError::Removed { error, .. } => of_account(error),
        CryptoError::TooLong => {
            Step::Answered(Outcome::Rejected(Failure::new("M_TOO_LARGE", CryptoError::TooLong.to_string())))
        }
        // The lease of the account is ending, and not the lane's.
        CryptoError::Stopped if delivery.may_call() => Step::LaneLimited(SHORTEST_REST),
        CryptoError::Stopped | CryptoError::Keys(_) | CryptoError::Refused { .. } => Step::Fenced,
        CryptoError::Unusable(reason) => Step::Unreachable(Failure::new(code::ENCRYPTION, reason)),
    }
}

/// The homeserver did not give or take the keys of people in the room. It would refuse the same again, until something changes for them.
async fn of_keys(delivery: &Delivery<'_>, homeserver: &Homeserver, message: &Message, error: SendError) -> Step {
    match error.outcome_elsewhere() {
        Outcome::Rejected(failure) | Outcome::Forbidden(failure) => {
            let text =
                format!("the homeserver did not accept what was asked about keys of people in the room: {failure}");
            delivery.awaits(homeserver, message, Failure::new(code::NO_KEY, text)).await
        }
        _ => of_account(error),
    }
}

/// The homeserver did not answer about keys. This says nothing about the message, nor about rooms that are not encrypted.
fn of_account(error: SendError) -> Step {
    match error.outcome_elsewhere() {
        Outcome::Limited { .. } | Outcome::Unauthorized(_) => error.into(),
        _ => Step::Unreachable(error.failure()),
    }
}
