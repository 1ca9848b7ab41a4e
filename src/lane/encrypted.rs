//! Messages for encrypted rooms: encrypted right before they are sent, by the worker that has the account's keys.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use super::{
    Delivery, changes,
    route::{SHORTEST_REST, Step},
};
use crate::{
    crypto::{CryptoError, Device, Encrypted, Holding, Opened},
    failpoint::{self, Point},
    matrix::{Homeserver, SendError},
    message::{EventId, Failure, Message, Outcome, RoomId, code},
};

/// How long a message waits until somebody in the room can read it: a server may be away, or a person has not set up a device yet.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10 * 60);

/// The answer to an encrypted message.
pub(super) struct Sent {
    pub(super) answer: Result<EventId, SendError>,
    /// Who in the room cannot read it.
    pub(super) note: Option<Failure>,
}

/// Remembers that a room is encrypted, before anything is sent there: from now on only the worker that has the keys gets its lane.
pub(super) async fn remember(delivery: &Delivery<'_>, room: &RoomId) -> Result<(), Step> {
    delivery.context.store.saw_encrypted(delivery.backend.id, room).await.map_err(|error| {
        warn!(%error, "That a room is encrypted could not be stored");
        Step::LaneLimited(SHORTEST_REST)
    })
}

/// Encrypts `message`, which changes `subject` if there is one, and sends it.
pub(super) async fn send(
    delivery: &Delivery<'_>,
    homeserver: &Homeserver,
    room: &RoomId,
    message: &Message,
    subject: Option<&EventId>,
) -> Result<Sent, Step> {
    let opened = device(delivery)?;
    if let Some(subject) = subject.filter(|_| changes::is_redaction(message)) {
        // The homeserver itself removes the text, so it has to see what is to be removed.
        return Ok(Sent { answer: homeserver.redact(room, subject, message).await, note: None });
    }
    let content = changes::content(message, subject);
    let Encrypted { content, no_key } = match encrypt(delivery, &opened, room, message, &content).await {
        Ok(encrypted) => encrypted,
        // A room that we are not in: the cause is diagnosed as for other messages.
        Err(CryptoError::Homeserver(error)) if matches!(error.outcome(), Outcome::Forbidden(_)) => {
            return Ok(Sent { answer: Err(error), note: None });
        }
        Err(error) => return Err(failed(delivery, &opened.device, error)),
    };
    if let Some(no_key) = no_key.as_ref().filter(|no_key| no_key.is_nobody) {
        let text = format!("nobody in the room can read it: {no_key}");
        return Err(unreadable(delivery, message, Failure::new(code::NO_KEY, text)));
    }
    if !delivery.may_call() {
        return Err(Step::Fenced);
    }
    failpoint::reach(Point::BeforePut).await;
    let answer = homeserver.send_encrypted(room, &message.txn_id, content).await;
    let note = no_key.map(|no_key| Failure::new(code::NO_KEY, format!("delivered; not readable for {no_key}")));
    Ok(Sent { answer, note })
}

/// The device with the account's keys, if this process has it.
fn device(delivery: &Delivery<'_>) -> Result<Opened, Step> {
    match delivery.context.devices.of(delivery.backend.id) {
        Some(Holding::Open(opened)) => Ok(opened),
        Some(Holding::Refused(reason)) => Err(Step::Unreachable(Failure::new(code::ENCRYPTION, reason))),
        Some(Holding::Away(error)) => Err(of_keys(error)),
        // Another worker has it, or it is being opened.
        None => Err(Step::Fenced),
    }
}

async fn encrypt(
    delivery: &Delivery<'_>,
    opened: &Opened,
    room: &RoomId,
    message: &Message,
    content: &str,
) -> Result<Encrypted, CryptoError> {
    let may_call = || delivery.may_call() && opened.deadline.leaves(delivery.context.call_needs);
    let book = delivery.book();
    let seen = match book.encryption(room) {
        Some(seen) => seen,
        None => {
            let mark = book.mark();
            let seen = Arc::new(opened.device.room(room, &may_call).await?);
            book.saw_encryption(mark, room, &seen);
            seen
        }
    };
    opened.device.encrypt(&seen, &message.matrix_type, content, &may_call).await
}

fn failed(delivery: &Delivery<'_>, device: &Arc<Device>, error: CryptoError) -> Step {
    if error.ends_the_device() {
        warn!(%error, "The keys of the account are read again");
        delivery.context.devices.give_up(delivery.backend.id, device);
        return Step::LaneLimited(SHORTEST_REST);
    }
    match error {
        CryptoError::Homeserver(error) => of_keys(error),
        CryptoError::TooLong => {
            Step::Answered(Outcome::Rejected(Failure::new("M_TOO_LARGE", CryptoError::TooLong.to_string())))
        }
        CryptoError::Stopped | CryptoError::Keys(_) | CryptoError::Refused { .. } => Step::Fenced,
        CryptoError::Unusable(reason) => Step::Unreachable(Failure::new(code::ENCRYPTION, reason)),
    }
}

/// The homeserver did not give or take keys. This says nothing about the message, nor about rooms that are not encrypted.
fn of_keys(error: SendError) -> Step {
    match error.outcome_elsewhere() {
        Outcome::Limited { .. } | Outcome::Unauthorized(_) => error.into(),
        _ => Step::Unreachable(error.failure()),
    }
}

/// The room waits; after ten minutes the message is given up.
fn unreadable(delivery: &Delivery<'_>, message: &Message, failure: Failure) -> Step {
    let held = delivery.claim.held.filter(|held| held.id == message.id);
    if held.and_then(|held| held.failing_for).is_some_and(|time| time >= GIVEN_UP_AFTER) {
        return Step::Answered(Outcome::Rejected(failure));
    }
    Step::Unreachable(failure)
}
