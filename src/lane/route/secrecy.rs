//! What was encrypted once is never sent in clear again.

use super::Route;
use crate::{
    lane::Delivery,
    message::{Message, RoomId},
    rooms::diagnosis::Secrecy,
};

impl Route {
    /// Whether a room is known to have been encrypted, whatever the homeserver says now.
    pub(super) fn was_encrypted(&self, delivery: &Delivery<'_>, room: &RoomId) -> bool {
        (delivery.is_encrypted && delivery.is_own_room(room)) || self.remembered.as_ref() == Some(room)
    }

    pub(super) fn secrecy(&self, delivery: &Delivery<'_>, message: &Message, room: &RoomId) -> Secrecy {
        let encrypts = delivery.backend.encrypts;
        let was_encrypted = self.was_encrypted(delivery, room);
        Secrecy { encrypts, was_encrypted, may_be_plain: message.may_be_unencrypted && !encrypts }
    }

    /// Messages to this person were encrypted, so they are never sent in clear again.
    pub(super) fn must_encrypt(&self, delivery: &Delivery<'_>) -> bool {
        delivery.is_encrypted || self.remembered.is_some()
    }
}
