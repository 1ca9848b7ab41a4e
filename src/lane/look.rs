//! Checks a room before a claim sends its first message there: the room may have been encrypted or replaced since. This takes two
//! small requests per claim, made at the same time, or none while this process follows the account and so notices such
//! changes. For direct rooms see [`crate::rooms::direct::look`].

use super::route::Step;
use crate::{
    matrix::{Homeserver, SendError, Tombstone},
    message::{Outcome, RoomId},
    rooms::book::RoomBook,
};

/// A room as it was found.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) is_encrypted: bool,
    /// The room was replaced.
    pub(super) tombstone: Option<Tombstone>,
    /// Whether the homeserver let us read the room.
    pub(super) is_seen: bool,
}

impl Look {
    /// What is known about a room whose changes are followed, else what the homeserver says.
    pub(super) async fn at(homeserver: &Homeserver, book: &RoomBook, room: &RoomId) -> Result<Self, Step> {
        if let Some(is_encrypted) = book.is_encrypted(room, None) {
            return Ok(Self { is_encrypted, tombstone: None, is_seen: true });
        }
        let mark = book.mark();
        let look = Self::by_request(homeserver, room).await?;
        if look.is_seen && look.tombstone.is_none() {
            book.saw(mark, room, None, look.is_encrypted);
        }
        Ok(look)
    }

    async fn by_request(homeserver: &Homeserver, room: &RoomId) -> Result<Self, Step> {
        let (is_encrypted, tombstone) = tokio::join!(homeserver.is_encrypted(room), homeserver.tombstone(room));
        let is_seen = is_encrypted.is_ok() && tombstone.is_ok();
        Ok(Self { is_encrypted: allowed(is_encrypted)?, tombstone: allowed(tombstone)?, is_seen })
    }
}

/// If we may not read the room we may not send to it either: the PUT will be refused, and then diagnosed.
fn allowed<T: Default>(answer: Result<T, SendError>) -> Result<T, Step> {
    match answer {
        Err(error) if matches!(error.outcome(), Outcome::Forbidden(_)) => Ok(T::default()),
        answer => Ok(answer?),
    }
}
