//! Rooms: who is in them, what replaced them, and how to join.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Homeserver, SendError};
use crate::message::{EventId, RoomId, UserId};

/// This account's membership in a room, as far as the homeserver shows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Membership {
    Joined,
    /// Invited by this person; the homeserver shows a part of the room's state with it.
    Invited {
        by: UserId,
        state: Vec<Value>,
    },
    Banned,
    /// Never in it, left, or removed.
    Outside,
}

/// The event `m.room.create` of a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Creation {
    pub content: Value,
    /// Who made the room; `None` where the homeserver does not say.
    pub sender: Option<UserId>,
}

impl Homeserver {
    /// `GET /joined_rooms`.
    pub async fn joined_rooms(&self) -> Result<Vec<RoomId>, SendError> {
        let answer = self.call(Method::GET, &["joined_rooms"], &[], None).await?;
        let rooms = answer.get("joined_rooms").and_then(Value::as_array).ok_or(SendError::not_matrix())?;
        Ok(rooms.iter().filter_map(Value::as_str).map(RoomId::new).collect())
    }

    /// This account's membership in `room`: one `GET /sync` that asks for nothing else.
    pub async fn membership(&self, me: &UserId, room: &RoomId) -> Result<Membership, SendError> {
        let nothing = json!({ "types": [] });
        // Synapse answers the same first sync from its cache for two minutes: an invitation of now would not be seen. So no
        // two looks are the same; the name in the filter excludes nothing, as no presence is asked for.
        let look = format!("@look-{:016x}:look.invalid", fastrand::u64(..));
        let filter = json!({
            "presence": { "types": [], "not_senders": [look] },
            "account_data": nothing,
            "room": {
                "rooms": [room.as_str()],
                "include_leave": true,
                "ephemeral": nothing,
                "account_data": nothing,
                "state": { "types": ["m.room.member"] },
                "timeline": { "types": ["m.room.member"], "limit": 10 },
            },
        })
        .to_string();
        let answer = self.call(Method::GET, &["sync"], &[("timeout", "0"), ("filter", &filter)], None).await?;
        Ok(read_membership(&answer, me, room))
    }

    /// `POST /rooms/{roomId}/join`.
    pub async fn join(&self, room: &RoomId) -> Result<(), SendError> {
        self.call(Method::POST, &["rooms", room.as_str(), "join"], &[], Some("{}".to_owned())).await.map(drop)
    }

    /// `POST /rooms/{roomId}/leave`.
    pub async fn leave(&self, room: &RoomId) -> Result<(), SendError> {
        self.call(Method::POST, &["rooms", room.as_str(), "leave"], &[], Some("{}".to_owned())).await.map(drop)
    }

    /// The content of a room's state event; `None` when there is none.
    pub async fn state(&self, room: &RoomId, event_type: &str) -> Result<Option<Value>, SendError> {
        let path = ["rooms", room.as_str(), "state", event_type, ""];
        none_if_not_found(self.call(Method::GET, &path, &[], None).await)
    }

    /// The room's `m.room.create`.
    pub async fn creation(&self, room: &RoomId) -> Result<Creation, SendError> {
        let path = ["rooms", room.as_str(), "state", "m.room.create", ""];
        let answer = none_if_not_found(self.call(Method::GET, &path, &[("format", "event")], None).await)?;
        Ok(read_creation(answer.unwrap_or_default()))
    }

    /// Whether `user` is in `room` or invited to it.
    pub async fn has_member(&self, room: &RoomId, user: &UserId) -> Result<bool, SendError> {
        Ok(matches!(self.membership_of(room, user).await?.as_deref(), Some("join" | "invite")))
    }

    /// The markers of Odoo's messages among the last hundred events of a room, with the event that carries each.
    pub async fn recent_markers(&self, room: &RoomId) -> Result<BTreeMap<String, EventId>, SendError> {
        let path = ["rooms", room.as_str(), "messages"];
        let answer = self.call(Method::GET, &path, &[("dir", "b"), ("limit", "100")], None).await?;
        let events = answer.get("chunk").and_then(Value::as_array).ok_or(SendError::not_matrix())?;
        let marker = |event: &Value| {
            let marker = event.pointer("/content/org.odoo.outbox")?.as_str()?;
            Some((marker.to_owned(), EventId::new(event.get("event_id")?.as_str()?)))
        };
        Ok(events.iter().filter_map(marker).collect())
    }
}

pub(super) fn none_if_not_found(answer: Result<Value, SendError>) -> Result<Option<Value>, SendError> {
    match answer {
        Ok(content) => Ok(Some(content)),
        Err(SendError::Refused { status: 404, errcode, .. }) if errcode == "M_NOT_FOUND" => Ok(None),
        Err(error) => Err(error),
    }
}

/// A homeserver that does not know the parameter `format` answers with the content alone.
fn read_creation(answer: Value) -> Creation {
    let sender = answer.get("sender").and_then(Value::as_str);
    match (sender, answer.get("content")) {
        (Some(sender), Some(content)) => Creation { content: content.clone(), sender: Some(UserId::new(sender)) },
        _ => Creation { content: answer, sender: None },
    }
}

fn read_membership(sync: &Value, me: &UserId, room: &RoomId) -> Membership {
    let rooms = sync.get("rooms");
    let part = |kind: &str| rooms?.get(kind)?.get(room.as_str());
    let is_mine = |event: &&Value| {
        event.get("type").and_then(Value::as_str) == Some("m.room.member")
            && event.get("state_key").and_then(Value::as_str) == Some(me.as_str())
    };
    if part("join").is_some() {
        return Membership::Joined;
    }
    if let Some(state) =
        part("invite").and_then(|invite| invite.pointer("/invite_state/events")).and_then(Value::as_array)
    {
        let sender = state.iter().find(is_mine).and_then(|event| event.get("sender")).and_then(Value::as_str);
        return Membership::Invited { by: UserId::new(sender.unwrap_or_default()), state: state.clone() };
    }
    let mut gone = part("leave").into_iter().flat_map(|left| {
        let events = |pointer| left.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        events("/state/events").chain(events("/timeline/events"))
    });
    let last = gone.rfind(is_mine).and_then(|event| event.pointer("/content/membership")).and_then(Value::as_str);
    if last == Some("ban") { Membership::Banned } else { Membership::Outside }
}

/// The content of an event among a part of a room's state.
pub fn state_among<'a>(events: &'a [Value], event_type: &str) -> Option<&'a Map<String, Value>> {
    let event = events.iter().find(|event| event.get("type").and_then(Value::as_str) == Some(event_type))?;
    event.get("content")?.as_object()
}
