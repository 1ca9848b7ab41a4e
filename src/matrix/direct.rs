//! Direct rooms: making one, inviting the person, and the account's own list of them.

use reqwest::Method;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::{Homeserver, SendError, answer::lenient, rooms::none_if_not_found};
use crate::message::{RoomId, UserId};

/// The content of `m.direct`: lists of rooms by person. Anybody who has the account may have written it, so every value may
/// be any JSON.
pub type DirectList = Map<String, Value>;

/// Whether an account of our own homeserver exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Exists,
    /// Nobody has that name, or the account was erased.
    Missing,
    /// The homeserver does not say.
    Hidden,
}

impl Homeserver {
    /// Creates a private room with nobody else in it. A repeated call with the same `key` gives the same room on Synapse, for half
    /// an hour at least, even while the first call is under way; other homeservers make another room.
    pub async fn create_direct_room(&self, key: &str, is_encrypted: bool) -> Result<RoomId, SendError> {
        // Not trusted_private_chat: in room version 12 that would give the invited person power over the room for ever.
        let mut body = json!({ "preset": "private_chat", "is_direct": true });
        if is_encrypted {
            let content = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
            body["initial_state"] = json!([{ "type": "m.room.encryption", "state_key": "", "content": content }]);
        }
        let body = body.to_string();
        #[derive(Deserialize)]
        struct Made {
            room_id: String,
        }
        // Not in the specification, which has no way to repeat this call safely.
        let made: Made = match self.call(Method::PUT, &["createRoom", key], &[], Some(body.clone())).await {
            Err(error) if is_unknown_endpoint(&error) => {
                self.call(Method::POST, &["createRoom"], &[], Some(body)).await?
            }
            answer => answer?,
        };
        Ok(RoomId::parse(&made.room_id)?)
    }

    /// Invites `person` and marks the room as direct for them.
    pub async fn invite_directly(&self, room: &RoomId, person: &UserId) -> Result<(), SendError> {
        // Not `POST …/invite`, which cannot carry the mark: the person's client would show just another room.
        let path = ["rooms", room.as_str(), "state", "m.room.member", person.as_str()];
        let body = json!({ "membership": "invite", "is_direct": true }).to_string();
        self.call::<IgnoredAny>(Method::PUT, &path, &[], Some(body)).await.map(drop)
    }

    /// The membership of `user` in `room`: `invite`, `join`, `leave`, `ban` or `knock`; `None`: never been in it.
    pub async fn membership_of(&self, room: &RoomId, user: &UserId) -> Result<Option<String>, SendError> {
        #[derive(Deserialize)]
        struct Member {
            #[serde(default, deserialize_with = "lenient")]
            membership: Option<String>,
        }
        let path = ["rooms", room.as_str(), "state", "m.room.member", user.as_str()];
        let member: Option<Member> = none_if_not_found(self.call(Method::GET, &path, &[], None).await)?;
        Ok(member.and_then(|member| member.membership))
    }

    /// `GET /profile/{userId}` of an account on our own homeserver: it accepts invitations to people who do not exist.
    pub async fn profile(&self, user: &UserId) -> Result<Profile, SendError> {
        match self.call::<IgnoredAny>(Method::GET, &["profile", user.as_str()], &[], None).await {
            Ok(_) => Ok(Profile::Exists),
            Err(SendError::Refused { status: 404 | 410, errcode, .. }) if errcode != "M_UNRECOGNIZED" => {
                Ok(Profile::Missing)
            }
            Err(error) if error.is_refusal() => Ok(Profile::Hidden),
            Err(error) => Err(error),
        }
    }

    /// The account's list of direct rooms; `None` where the value is not a list. Only a 404 means that there are no
    /// direct rooms.
    pub async fn direct_list(&self, me: &UserId) -> Result<Option<DirectList>, SendError> {
        let path = ["user", me.as_str(), "account_data", "m.direct"];
        match none_if_not_found(self.call(Method::GET, &path, &[], None).await) {
            Ok(list) => Ok(Some(list.unwrap_or_default())),
            Err(SendError::NotMatrix { status: 200, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the direct rooms, all of them: the homeserver replaces what it had.
    pub async fn set_direct_list(&self, me: &UserId, list: &DirectList) -> Result<(), SendError> {
        let path = ["user", me.as_str(), "account_data", "m.direct"];
        let body = Value::Object(list.clone()).to_string();
        self.call::<IgnoredAny>(Method::PUT, &path, &[], Some(body)).await.map(drop)
    }
}

/// Whether another method may work: the homeserver, or a proxy before it, does not know this path.
pub(super) fn is_unknown_endpoint(error: &SendError) -> bool {
    match error {
        SendError::Refused { status: 404 | 405, .. } | SendError::NotMatrix { status: 404 | 405, .. } => true,
        SendError::Refused { errcode, .. } => errcode == "M_UNRECOGNIZED",
        _ => false,
    }
}
