//! Reads what is written in the account's rooms, from one place in the homeserver's stream to the next.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{ANSWER_LIMIT, Homeserver, SendError};
use crate::message::{EventId, RoomId, UserId};

/// What is of interest to Odoo.
const TYPES: [&str; 4] = ["m.room.message", "m.reaction", "m.room.redaction", "m.room.tombstone"];

/// The state that a look before sending reads: once it changes, the earlier look is out of date.
const LOOKED_AT: [&str; 3] = ["m.room.encryption", "m.room.tombstone", "m.room.member"];

/// Of one room in one answer. What is older is read page by page.
const EVENTS_OF_ROOM: usize = 50;

/// Of one page of a room's history; an event is at most 64 KiB.
const EVENTS_OF_PAGE: usize = 100;

/// Many rooms may have spoken at once.
const SYNC_LIMIT: usize = 64 << 20;

/// The parts of an event that Odoo needs. What the homeserver adds for this client is not among them.
const PARTS: [&str; 7] = ["event_id", "type", "sender", "origin_server_ts", "content", "state_key", "redacts"];

/// Display names by Matrix ID.
pub type Names = BTreeMap<String, String>;

/// `GET /sync`: what came after a place in the stream, and the place after it.
#[derive(Debug)]
pub struct Synced {
    pub next_batch: String,
    pub rooms: Vec<Heard>,
    /// Rooms that the account is no longer in, or is invited to.
    pub others: Vec<RoomId>,
    #[cfg(feature = "encryption")]
    pub device: DeviceNews,
}

/// What the homeserver tells the device about its own keys and those of others, as it stands in the answer.
#[cfg(feature = "encryption")]
#[derive(Clone, Debug, Default)]
pub struct DeviceNews {
    pub events: Value,
    pub device_lists: Value,
    pub one_time_keys: Value,
    pub fallback_keys: Value,
}

/// What was written in one room.
#[derive(Debug)]
pub struct Heard {
    pub room: RoomId,
    /// In the room's order.
    pub events: Vec<RoomEvent>,
    pub names: Names,
    /// Before these there are others that the answer left out.
    pub has_gap: bool,
    /// Encryption, replacement or members of the room may have changed.
    pub is_changed: bool,
}

/// A page of a room's history.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<RoomEvent>,
    pub names: Names,
    /// Where the next page begins; `None` after the last one.
    pub end: Option<String>,
}

/// One event with its room, as it is handed on.
#[derive(Clone)]
pub struct RoomEvent {
    pub id: EventId,
    pub json: Value,
}

impl std::fmt::Debug for RoomEvent {
    /// Without the content: it is somebody's letter.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RoomEvent").field(&self.id).finish()
    }
}

impl Homeserver {
    /// `POST /user/{userId}/filter`: leaves out everything but what is written in rooms, and what changes them.
    ///
    /// What the account itself has sent is left out by us: the filter would leave out, too, that somebody who has the account encrypts
    /// a room.
    pub async fn upload_filter(&self, me: &UserId) -> Result<String, SendError> {
        let nothing = json!({ "types": [] });
        let types: Vec<_> = TYPES.iter().chain(&LOOKED_AT).collect();
        let timeline = json!({ "types": types, "limit": EVENTS_OF_ROOM });
        let filter = json!({
            "presence": nothing,
            "account_data": nothing,
            "room": {
                "ephemeral": nothing,
                "account_data": nothing,
                // With lazy loading: the senders, for their names.
                "state": { "types": LOOKED_AT, "lazy_load_members": true, "include_redundant_members": true },
                "timeline": timeline,
            },
        });
        let path = ["user", me.as_str(), "filter"];
        let answer = self.call(Method::POST, &path, &[], Some(filter.to_string())).await?;
        text(&answer, "filter_id").ok_or(SendError::not_matrix())
    }

    /// The present place in the stream: a first `GET /sync` that looks at no room.
    pub async fn stream_now(&self) -> Result<String, SendError> {
        let nothing = json!({ "types": [] });
        // Synapse answers the same first sync from its cache for two minutes. The name excludes nothing, as no presence is asked for.
        let look = format!("@now-{:016x}:look.invalid", fastrand::u64(..));
        let filter = json!({
            "presence": { "types": [], "not_senders": [look] },
            "account_data": nothing,
            "room": { "rooms": [] },
        });
        let query = [("timeout", "0"), ("set_presence", "offline"), ("filter", &*filter.to_string())];
        let answer = self.call(Method::GET, &["sync"], &query, None).await?;
        text(&answer, "next_batch").ok_or(SendError::not_matrix())
    }

    /// `GET /sync`: waits for `wait` at most until something comes after `since`.
    pub async fn sync(&self, me: &UserId, filter: &str, since: &str, wait: Duration) -> Result<Synced, SendError> {
        let milliseconds = wait.as_millis().to_string();
        let query = [("timeout", &*milliseconds), ("set_presence", "offline"), ("filter", filter), ("since", since)];
        let bounds = (wait + self.timeout, SYNC_LIMIT);
        let answer = self.call_patiently(Method::GET, &["sync"], &query, None, bounds).await?;
        let next_batch = text(&answer, "next_batch").ok_or(SendError::not_matrix())?;
        let part = |name: &str| answer.pointer(name).and_then(Value::as_object).into_iter().flatten();
        let rooms = part("/rooms/join").map(|(room, part)| heard(me, room, part)).collect();
        let others = part("/rooms/leave").chain(part("/rooms/invite")).map(|(room, _)| RoomId::new(room)).collect();
        #[cfg(feature = "encryption")]
        let device = {
            let part = |name: &str| answer.pointer(name).cloned().unwrap_or_default();
            DeviceNews {
                events: part("/to_device/events"),
                device_lists: part("/device_lists"),
                one_time_keys: part("/device_one_time_keys_count"),
                fallback_keys: part("/device_unused_fallback_key_types"),
            }
        };
        Ok(Synced {
            next_batch,
            rooms,
            others,
            #[cfg(feature = "encryption")]
            device,
        })
    }

    /// `GET /rooms/{roomId}/messages`: the room's events after a place in the stream, in order.
    pub async fn page(&self, me: &UserId, room: &RoomId, from: &str) -> Result<Page, SendError> {
        let mut filter = events_of_others(me);
        filter["lazy_load_members"] = json!(true);
        let (limit, filter) = (EVENTS_OF_PAGE.to_string(), filter.to_string());
        let query = [("dir", "f"), ("from", from), ("limit", &*limit), ("filter", &*filter)];
        let path = ["rooms", room.as_str(), "messages"];
        let bounds = (self.timeout, ANSWER_LIMIT.max(EVENTS_OF_PAGE * (128 << 10)));
        let answer = self.call_patiently(Method::GET, &path, &query, None, bounds).await?;
        let chunk = answer.get("chunk").and_then(Value::as_array).ok_or(SendError::not_matrix())?;
        let mut names = Names::new();
        learn_names(&mut names, answer.get("state").and_then(Value::as_array));
        let end = text(&answer, "end").filter(|end| end != from);
        Ok(Page { events: chunk.iter().filter_map(|event| room_event(me, room, event)).collect(), names, end })
    }
}

fn events_of_others(me: &UserId) -> Value {
    json!({ "types": TYPES, "not_senders": [me.as_str()] })
}

fn text(answer: &Value, key: &str) -> Option<String> {
    answer.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn heard(me: &UserId, room: &str, part: &Value) -> Heard {
    let room = RoomId::new(room);
    let part_of = |name: &str| part.pointer(name).and_then(Value::as_array);
    let events = part_of("/timeline/events").into_iter().flatten();
    let has_gap = part.pointer("/timeline/limited").and_then(Value::as_bool).unwrap_or(false);
    let is_one_of = |event: &Value, types: &[&str]| text(event, "type").is_some_and(|kind| types.contains(&&*kind));
    // The members in the state are the senders; without a gap, changes of members are in the timeline.
    let is_changed = has_gap
        || events.clone().any(|event| is_one_of(event, &LOOKED_AT))
        || part_of("/state/events").into_iter().flatten().any(|event| is_one_of(event, &LOOKED_AT[..2]));
    let mut names = Names::new();
    learn_names(&mut names, part_of("/state/events"));
    Heard {
        events: events.filter_map(|event| room_event(me, &room, event)).collect(),
        names,
        has_gap,
        is_changed,
        room,
    }
}

/// An event for Odoo: from somebody else, and of a type that it needs. `None` for anything else, and for what is not an
/// event.
fn room_event(me: &UserId, room: &RoomId, event: &Value) -> Option<RoomEvent> {
    let id = EventId::new(event.get("event_id")?.as_str()?);
    let is_usable = TYPES.contains(&event.get("type")?.as_str()?) && event.get("sender")?.as_str()? != me.as_str();
    let parts = PARTS.iter().filter_map(|part| Some(((*part).to_owned(), event.get(*part)?.clone())));
    let mut json: Map<_, _> = parts.collect();
    json.insert("room_id".to_owned(), room.as_str().into());
    is_usable.then_some(RoomEvent { id, json: Value::Object(json) })
}

fn learn_names(names: &mut Names, members: Option<&Vec<Value>>) {
    let name = |event: &Value| {
        let name = event.pointer("/content/displayname")?.as_str()?;
        let is_member = event.get("type")?.as_str()? == "m.room.member";
        is_member.then_some((event.get("state_key")?.as_str()?.to_owned(), name.to_owned()))
    };
    names.extend(members.into_iter().flatten().filter_map(name));
}

/// Of a page, what comes before the first event of `known`; the second value says whether one of them was met.
pub fn before(events: Vec<RoomEvent>, known: &HashSet<EventId>) -> (Vec<RoomEvent>, bool) {
    let mut events = events;
    match events.iter().position(|event| known.contains(&event.id)) {
        Some(at) => {
            events.truncate(at);
            (events, true)
        }
        None => (events, false),
    }
}
