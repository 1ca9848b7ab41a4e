//! Threads: an event of a room, and those that belong to it.

use reqwest::Method;
use serde::{Deserialize, de::IgnoredAny};

use super::super::{
    Homeserver, SendError,
    answer::{lenient, or_default},
};
use crate::message::{EventId, RoomId};

impl Homeserver {
    /// The last event of the thread that begins with `root`, by `GET /rooms/{roomId}/event/{eventId}`; `None` if that one was redacted.
    pub async fn last_of_thread(&self, room: &RoomId, root: &EventId) -> Result<Option<EventId>, SendError> {
        let path = ["rooms", room.as_str(), "event", root.as_str()];
        let Event { unsigned } = self.call(Method::GET, &path, &[], None).await?;
        if unsigned.redacted_because.is_some() {
            return Ok(None);
        }
        let last = unsigned.relations.thread.latest_event.event_id;
        Ok(Some(last.map_or_else(|| root.clone(), EventId::new)))
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(default, deserialize_with = "or_default")]
    unsigned: Unsigned,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Unsigned {
    redacted_because: Option<IgnoredAny>,
    #[serde(rename = "m.relations", deserialize_with = "or_default")]
    relations: Relations,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Relations {
    #[serde(rename = "m.thread", deserialize_with = "or_default")]
    thread: Summary,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    #[serde(deserialize_with = "or_default")]
    latest_event: Latest,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Latest {
    #[serde(deserialize_with = "lenient")]
    event_id: Option<String>,
}
