//! The direct room with a person: found, or made. Called under the lease of the person's lane, so that there is only one.

use crate::{
    matrix::{Homeserver, SendError},
    message::{RoomId, UserId},
};

/// A room with `person` that `m.direct` lists, that both are in, that has not been replaced and is not encrypted.
pub async fn find(homeserver: &Homeserver, me: &UserId, person: &UserId) -> Result<Option<RoomId>, SendError> {
    let listed = homeserver.direct_rooms(me).await?.remove(person.as_str()).unwrap_or_default();
    if listed.is_empty() {
        return Ok(None);
    }
    let joined = homeserver.joined_rooms().await?;
    for room in listed.into_iter().map(RoomId::new).filter(|room| joined.contains(room)) {
        if homeserver.has_member(&room, person).await?
            && homeserver.state(&room, "m.room.tombstone").await?.is_none()
            && homeserver.state(&room, "m.room.encryption").await?.is_none()
        {
            return Ok(Some(room));
        }
    }
    Ok(None)
}

/// Puts `room` first in the account's list of direct rooms with `person`, and keeps all others.
pub async fn remember(homeserver: &Homeserver, me: &UserId, person: &UserId, room: &RoomId) -> Result<(), SendError> {
    let mut all = homeserver.direct_rooms(me).await?;
    let rooms = all.entry(person.as_str().to_owned()).or_default();
    if rooms.iter().any(|listed| listed == room.as_str()) {
        return Ok(());
    }
    rooms.insert(0, room.as_str().to_owned());
    homeserver.set_direct_rooms(me, &all).await
}
