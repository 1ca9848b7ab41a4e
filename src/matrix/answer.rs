//! How answers of the homeserver are read. What it says itself has its type; what somebody in a room may have written can be anything, and
//! counts as missing where it is not what it should be.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::SendError;
use crate::message::InvalidId;

/// Reads a value that anybody may have written.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

/// Reads a list without those of its items that are not what they should be. Each is read alone: values that are nested too deeply to be
/// read would otherwise make the whole answer unreadable, and anybody may send one.
pub(super) fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let items: Vec<Box<RawValue>> = or_default(deserializer)?;
    Ok(items.iter().filter_map(|item| serde_json::from_str(item.get()).ok()).collect())
}

/// Some homeservers write `null` for what is empty.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl From<InvalidId> for SendError {
    /// An answer with an ID that cannot exist is not from a homeserver.
    fn from(_: InvalidId) -> Self {
        Self::not_matrix()
    }
}

/// An event, with the parts that Odoo needs. What the homeserver adds for this client is not among them.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub(super) event_id: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub(super) sender: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub(super) state_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin_server_ts: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<Value>,
    #[serde(default, skip_serializing)]
    unsigned: Value,
}

impl Event {
    /// A text in the event's content.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.content.as_ref()?.get(key)?.as_str()
    }

    /// Whether a member was in the room before this change of the membership.
    pub(super) fn was_in(&self) -> bool {
        match self.unsigned.pointer("/prev_content/membership") {
            Some(before) => before == "join",
            None => matches!(self.text("membership"), Some("leave" | "ban")),
        }
    }

    /// Whether it says what `user` is in the room.
    pub(super) fn is_membership_of(&self, user: &str) -> bool {
        self.kind == "m.room.member" && self.state_key.as_deref() == Some(user)
    }
}

/// The rooms in an answer to `GET /sync`, by their IDs.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Rooms {
    #[serde(deserialize_with = "or_default")]
    pub(super) join: BTreeMap<String, RoomPart>,
    #[serde(deserialize_with = "or_default")]
    pub(super) invite: BTreeMap<String, RoomPart>,
    #[serde(deserialize_with = "or_default")]
    pub(super) leave: BTreeMap<String, RoomPart>,
}

/// What an answer to `GET /sync` has of one room.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RoomPart {
    #[serde(deserialize_with = "or_default")]
    pub(super) state: Events,
    #[serde(deserialize_with = "or_default")]
    pub(super) timeline: Events,
    /// The part of the room's state that the homeserver shows with an invitation.
    #[serde(deserialize_with = "or_default")]
    pub(super) invite_state: Events,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Events {
    #[serde(deserialize_with = "lenient_list")]
    pub(super) events: Vec<Event>,
    /// Earlier ones were left out.
    #[serde(deserialize_with = "or_default")]
    pub(super) limited: bool,
}

/// `GET /rooms/{roomId}/messages`.
#[derive(Deserialize)]
pub(super) struct Messages {
    #[serde(deserialize_with = "lenient_list")]
    pub(super) chunk: Vec<Event>,
    #[serde(default, deserialize_with = "lenient_list")]
    pub(super) state: Vec<Event>,
    pub(super) end: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twice as deep as serde_json reads.
    fn deep() -> String {
        format!("{}1{}", "[".repeat(250), "]".repeat(250))
    }

    #[test]
    fn a_deeply_nested_event_makes_nothing_else_unreadable() {
        let event = |id: &str, body: &str| {
            format!(r#"{{"type":"m.room.message","event_id":"{id}","sender":"@a:x","content":{{"body":{body}}}}}"#)
        };
        let events = format!("[{},{}]", event("$deep", &deep()), event("$plain", "\"hello\""));
        let ids = |events: &[Event]| events.iter().map(|event| event.event_id.clone().unwrap()).collect::<Vec<_>>();

        let rooms = format!(
            r#"{{"join":{{"!a:x":{{"timeline":{{"events":{events}}}}}}},"invite":{{"!b:x":{{"invite_state":{{"events":{events}}}}}}}}}"#
        );
        let rooms: Rooms = serde_json::from_str(&rooms).unwrap();
        assert_eq!(ids(&rooms.join["!a:x"].timeline.events), ["$plain"]);
        assert_eq!(ids(&rooms.invite["!b:x"].invite_state.events), ["$plain"]);

        let page: Messages = serde_json::from_str(&format!(r#"{{"chunk":{events},"state":{events}}}"#)).unwrap();
        assert_eq!((ids(&page.chunk), ids(&page.state)), (vec!["$plain".to_owned()], vec!["$plain".to_owned()]));
    }
}
