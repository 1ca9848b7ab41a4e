//! The direct room with a person: whether it can be used, and where `m.direct` lists another one.
//!
//! Called under the lease of the person's lane, so that there is only one.

use serde_json::{Value, json};

use crate::{
    matrix::{DirectList, Homeserver, SendError},
    message::{RoomId, UserId},
};

/// At most this many rooms of one person are looked at: other clients of the account may have listed any number.
const MOST_LISTED: usize = 20;

/// Whether messages for a person can go to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They are in it or invited to it.
    Ready { is_encrypted: bool },
    /// They were never invited: the room was made for them, and the invitation has not got through.
    Uninvited { is_encrypted: bool },
    /// They left it or declined the invitation.
    Left { is_encrypted: bool },
    /// We are not in it, it was replaced, or they are banned.
    Closed,
}

impl Standing {
    /// Whether it is a room that we are in, and is encrypted.
    pub(crate) fn is_encrypted(self) -> bool {
        match self {
            Self::Ready { is_encrypted } | Self::Uninvited { is_encrypted } | Self::Left { is_encrypted } => {
                is_encrypted
            }
            Self::Closed => false,
        }
    }
}

/// Whether `room` can be used for messages to `person`.
pub(crate) async fn look(homeserver: &Homeserver, room: &RoomId, person: &UserId) -> Result<Standing, SendError> {
    let looks = tokio::try_join!(
        homeserver.membership_of(room, person),
        homeserver.tombstone(room),
        homeserver.is_encrypted(room),
    );
    let (membership, tombstone, is_encrypted) = match looks {
        Ok(seen) => seen,
        Err(error) if error.is_refusal() => return Ok(Standing::Closed),
        Err(error) => return Err(error),
    };
    if tombstone.is_some() {
        return Ok(Standing::Closed);
    }
    Ok(match membership.as_deref() {
        Some("join" | "invite") => Standing::Ready { is_encrypted },
        None => Standing::Uninvited { is_encrypted },
        Some("ban") => Standing::Closed,
        Some(_) => Standing::Left { is_encrypted },
    })
}

/// A room that `list` has for `person`, that both are in and that has not been replaced, and whether it is encrypted: one for
/// which `may_use` says that it may be used if it is encrypted, or is not.
pub(crate) async fn find(
    homeserver: &Homeserver,
    list: &DirectList,
    person: &UserId,
    except: Option<&RoomId>,
    may_use: impl Fn(bool) -> bool,
) -> Result<Option<(RoomId, bool)>, SendError> {
    let listed = rooms_of(list, person);
    if listed.is_empty() {
        return Ok(None);
    }
    let joined = homeserver.joined_rooms().await?;
    let candidates = listed.into_iter().filter(|room| joined.contains(room) && Some(room) != except);
    for room in candidates.take(MOST_LISTED) {
        match look(homeserver, &room, person).await? {
            Standing::Ready { is_encrypted } if may_use(is_encrypted) => return Ok(Some((room, is_encrypted))),
            _ => {}
        }
    }
    Ok(None)
}

/// The rooms that `list` has for `person`; what is not a room ID is skipped.
pub(crate) fn rooms_of(list: &DirectList, person: &UserId) -> Vec<RoomId> {
    let listed = match list.get(person.as_str()) {
        Some(Value::Array(rooms)) => rooms.as_slice(),
        Some(room @ Value::String(_)) => std::slice::from_ref(room),
        _ => &[],
    };
    listed.iter().filter_map(|room| RoomId::parse(room.as_str()?).ok()).collect()
}

/// Puts `room` first among `person`'s rooms and leaves everything else as it is, whatever its shape. Returns whether it was missing.
pub(crate) fn add(list: &mut DirectList, person: &UserId, room: &RoomId) -> bool {
    if rooms_of(list, person).contains(room) {
        return false;
    }
    let room = json!(room.as_str());
    let rooms = match list.remove(person.as_str()) {
        Some(Value::Array(mut rooms)) => {
            rooms.insert(0, room);
            rooms
        }
        None | Some(Value::Null) => vec![room],
        Some(other) => vec![room, other],
    };
    list.insert(person.as_str().to_owned(), Value::Array(rooms));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(value: Value) -> DirectList {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_room_is_added_and_everything_else_stays_whatever_shape_it_has() {
        let (person, room) = (UserId::parse("@d:x").unwrap(), RoomId::parse("!new").unwrap());
        for (before, after) in [
            (json!({}), json!({ "@d:x": ["!new"] })),
            (json!({ "@d:x": null }), json!({ "@d:x": ["!new"] })),
            (json!({ "@d:x": "!old" }), json!({ "@d:x": ["!new", "!old"] })),
            (json!({ "@d:x": ["!old", null, 7] }), json!({ "@d:x": ["!new", "!old", null, 7] })),
            (json!({ "@d:x": { "!old": true } }), json!({ "@d:x": ["!new", { "!old": true }] })),
            (
                json!({ "@a:x": ["!1"], "@b:x": null, "@c:x": "!2", "": [[]], "org.example": { "n": 1.5 }, "@e:x": 0 }),
                json!({ "@a:x": ["!1"], "@b:x": null, "@c:x": "!2", "": [[]], "org.example": { "n": 1.5 }, "@e:x": 0, "@d:x": ["!new"] }),
            ),
        ] {
            let mut changed = list(before.clone());
            assert!(add(&mut changed, &person, &room), "{before}");
            assert_eq!(Value::Object(changed), after, "{before}");
        }
        for listed in [json!({ "@d:x": ["!old", "!new"] }), json!({ "@d:x": "!new" })] {
            let mut same = list(listed.clone());
            assert!(!add(&mut same, &person, &room), "{listed}");
            assert_eq!(Value::Object(same), listed);
        }
    }

    #[test]
    fn only_room_ids_are_read_from_a_list() {
        let person = UserId::parse("@d:x").unwrap();
        let read = |value: Value| rooms_of(&list(json!({ "@d:x": value })), &person);

        let rooms = ["!1", "!3"].map(|room| RoomId::parse(room).unwrap());
        assert_eq!(read(json!(["!1", 7, null, "#alias:x", ["!2"], "!3"])), rooms);
        assert_eq!(read(json!({ "!1": 1 })), []);
    }
}
