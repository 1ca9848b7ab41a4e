//! Edits and redactions: messages that change the event of an earlier message of their lane.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tracing::warn;

use super::{
    Delivery,
    route::{SHORTEST_REST, Step},
};
use crate::{
    matrix::{Homeserver, SendError},
    message::{EventId, Failure, Message, Outcome, RoomId, TxnId, code},
};

/// The Matrix type of a message that removes the text of another one.
const REDACTION: &str = "m.room.redaction";

/// The events of the messages of this claim, because the log does not have all of them yet.
pub(super) type Made = HashMap<TxnId, EventId>;

/// The event that `message` changes, or `None` if it changes none.
///
/// # Errors
/// What ends the attempt. The original message came before it in the same lane: if that has no event now, it never will.
pub(super) async fn subject(
    delivery: &Delivery<'_>,
    message: &Message,
    room: &RoomId,
    made: &Made,
) -> Result<Option<EventId>, Step> {
    let Some(txn_id) = &message.changes else { return Ok(None) };
    if let Some(event_id) = made.get(txn_id) {
        return Ok(Some(event_id.clone()));
    }
    let text = match delivery.context.store.changed_event(&delivery.claim.lane, message.id).await {
        Ok(Some((event_id, went_to))) if went_to.as_deref().is_none_or(|went_to| went_to == room.as_str()) => {
            return Ok(Some(event_id));
        }
        Ok(Some(_)) => "the message that this changes is in another room, which was replaced since",
        Ok(None) => "the message that this changes was never sent, so there is nothing to change",
        Err(error) => {
            warn!(%error, message.id, "The event that a message changes could not be read");
            return Err(Step::LaneLimited(SHORTEST_REST));
        }
    };
    Err(Step::Answered(Outcome::Rejected(Failure::new(code::NOTHING_TO_CHANGE, text))))
}

/// Sends `message`, which changes `subject`.
pub(super) async fn send(
    homeserver: &Homeserver,
    room: &RoomId,
    message: &Message,
    subject: &EventId,
) -> Result<EventId, SendError> {
    if is_redaction(message) {
        return homeserver.redact(room, subject, message).await;
    }
    homeserver.send(room, &Message { content: related(&message.content, subject), ..message.clone() }).await
}

/// Whether the message removes the text of another one.
pub(super) fn is_redaction(message: &Message) -> bool {
    message.matrix_type == REDACTION
}

/// The content of a message that may change `subject`.
#[cfg(feature = "encryption")]
pub(super) fn content<'m>(message: &'m Message, subject: Option<&EventId>) -> std::borrow::Cow<'m, str> {
    subject.map_or((&*message.content).into(), |subject| related(&message.content, subject).into())
}

/// The content of an edit with the event that it replaces, which Odoo could not know.
fn related(content: &str, subject: &EventId) -> String {
    let mut content: Map<String, Value> = serde_json::from_str(content).expect("checked when it was read");
    let relation = json!({ "rel_type": "m.replace", "event_id": subject.as_str() });
    content.insert("m.relates_to".to_owned(), relation);
    Value::Object(content).to_string()
}
