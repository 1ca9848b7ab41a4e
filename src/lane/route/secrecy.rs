//! What was encrypted once is never sent in clear again, and nothing goes unencrypted to an encrypted room without consent.

use tracing::warn;

use super::{Route, SHORTEST_REST, Step};
use crate::{
    lane::Delivery,
    message::{Failure, Message, Outcome, RoomId, Target, code},
    rooms::diagnosis::Secrecy,
};

const NOT_BUILT_WITH_IT: &str = "encryption is set up on the backend, and the worker that got the message was built without it; replace that \
    worker, then send the message again";

impl Route {
    /// Whether a room is known to have been encrypted, whatever the homeserver says now.
    pub(super) fn was_encrypted(&self, delivery: &Delivery<'_>, room: &RoomId) -> bool {
        (delivery.claim.is_encrypted && delivery.is_own_room(room)) || self.remembered.as_ref() == Some(room)
    }

    /// What decides which room may replace this one.
    pub(super) async fn secrecy(
        &mut self,
        delivery: &Delivery<'_>,
        message: &Message,
        room: &RoomId,
    ) -> Result<Secrecy, Step> {
        let encrypts = delivery.backend.encrypts;
        let was_encrypted = self.was_encrypted(delivery, room);
        let may_be_plain = !encrypts && self.may_be_readable(delivery, message, room).await?;
        Ok(Secrecy { encrypts, was_encrypted, may_be_plain })
    }

    /// Whether the record allows, now and for exactly this room, that the message is sent unencrypted.
    pub(super) async fn may_be_readable(
        &mut self,
        delivery: &Delivery<'_>,
        message: &Message,
        room: &RoomId,
    ) -> Result<bool, Step> {
        if !message.may_be_unencrypted || !matches!(&message.target, Target::Room(own) if own == room) {
            return Ok(false);
        }
        if self.consents.is_none() {
            let asked: Vec<_> = delivery.claim.messages.iter().filter(|message| message.may_be_unencrypted).collect();
            let asked: Vec<_> = asked.iter().map(|message| message.id).collect();
            match delivery.context.store.consents(&asked).await {
                Ok(consents) => self.consents = Some(consents),
                Err(error) => {
                    warn!(%error, "Could not find out whether the record allows messages that are not encrypted");
                    return Err(Step::LaneLimited(SHORTEST_REST));
                }
            }
        }
        Ok(self.consents.as_ref().is_some_and(|consents| consents.contains(&message.id)))
    }

    /// Messages to this person were encrypted, so they are never sent in clear again.
    pub(super) fn must_encrypt(&self, delivery: &Delivery<'_>) -> bool {
        delivery.claim.is_encrypted || self.remembered.is_some()
    }
}

/// A message that would have to be encrypted is refused, because of `why` or because this worker never encrypts.
pub(super) fn refused(delivery: &Delivery<'_>, why: &str) -> Outcome {
    let text = if delivery.backend.lacks_encryption { NOT_BUILT_WITH_IT } else { why };
    Outcome::Rejected(Failure::new(code::ENCRYPTED, text))
}
