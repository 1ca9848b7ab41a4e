//! One look at a room, before a claim sends its first message there: a room may have been encrypted, replaced or left since the
//! last one. It costs two small requests for a claim, three for a direct room, all at once.

use serde_json::Value;

use super::route::Step;
use crate::{
    matrix::{Homeserver, SendError},
    message::{Outcome, RoomId, Target},
};

/// A room as it was found.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) is_encrypted: bool,
    /// The room was replaced; names the other one, perhaps.
    pub(super) tombstone: Option<Value>,
    /// The person of a direct room is neither in it nor invited.
    pub(super) is_left: bool,
}

impl Look {
    pub(super) async fn at(homeserver: &Homeserver, room: &RoomId, target: &Target) -> Result<Self, Step> {
        let person_is_gone = async {
            match target {
                Target::Room(_) => Ok(false),
                Target::Person(person) => homeserver.has_member(room, person).await.map(|is_here| !is_here),
            }
        };
        let (encryption, tombstone, is_left) = tokio::join!(
            homeserver.state(room, "m.room.encryption"),
            homeserver.state(room, "m.room.tombstone"),
            person_is_gone
        );
        Ok(Self {
            is_encrypted: allowed(encryption)?.is_some(),
            tombstone: allowed(tombstone)?,
            is_left: allowed(is_left)?,
        })
    }
}

/// Who may not look into the room may not send to it either: the PUT tells, and is diagnosed.
fn allowed<T: Default>(answer: Result<T, SendError>) -> Result<T, Step> {
    match answer {
        Err(error) if matches!(error.outcome(), Outcome::Forbidden(_)) => Ok(T::default()),
        answer => Ok(answer?),
    }
}
