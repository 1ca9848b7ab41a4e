//! One look at a room, before a claim sends its first message there: it may have been encrypted or replaced since the last one. It
//! costs two small requests for a claim, at once. For direct rooms see [`crate::rooms::direct::look`].

use serde_json::Value;

use super::route::Step;
use crate::{
    matrix::{Homeserver, SendError},
    message::{Outcome, RoomId},
};

/// A room as it was found.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) is_encrypted: bool,
    /// The room was replaced; this names the other one, perhaps.
    pub(super) tombstone: Option<Value>,
}

impl Look {
    pub(super) async fn at(homeserver: &Homeserver, room: &RoomId) -> Result<Self, Step> {
        let (encryption, tombstone) =
            tokio::join!(homeserver.state(room, "m.room.encryption"), homeserver.state(room, "m.room.tombstone"));
        Ok(Self { is_encrypted: allowed(encryption)?.is_some(), tombstone: allowed(tombstone)? })
    }
}

/// Who may not look into the room may not send to it either: the PUT tells, and is diagnosed.
fn allowed(answer: Result<Option<Value>, SendError>) -> Result<Option<Value>, Step> {
    match answer {
        Err(error) if matches!(error.outcome(), Outcome::Forbidden(_)) => Ok(None),
        answer => Ok(answer?),
    }
}
