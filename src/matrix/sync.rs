//! Reads what is written in the account's rooms, from one place in the homeserver's stream to the next.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

#[cfg(feature = "encryption")]
use super::answer::lenient_list;
use super::{
    ANSWER_LIMIT, Homeserver, SendError,
    answer::{Event, Messages, RoomPart, Rooms, or_default},
    presence::written_while_in,
    replaced,
};
use crate::message::{EventId, RoomId, UserId};

/// The types of events that Odoo needs.
const TYPES: [&str; 4] = ["m.room.message", "m.reaction", "m.room.redaction", TOMBSTONE];

pub(super) const TOMBSTONE: &str = "m.room.tombstone";

/// What is of interest to Odoo may be in it.
#[cfg(feature = "encryption")]
pub const ENCRYPTED: &str = "m.room.encrypted";

/// The state that is checked before sending: when it changes, an earlier check is out of date.
const LOOKED_AT: [&str; 4] = [MEMBER, "m.room.encryption", TOMBSTONE, "m.room.history_visibility"];

pub(super) const MEMBER: &str = "m.room.member";

/// The most events of one room in one answer. Older ones are read page by page.
const EVENTS_OF_ROOM: usize = 50;

/// The most events in one page of a room's history; an event has at most 64 KiB.
const EVENTS_OF_PAGE: usize = 100;

/// Many rooms may have new events at once.
const SYNC_LIMIT: usize = 64 << 20;

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

/// What the homeserver tells the device about its own keys and those of others, unchanged from the answer.
#[cfg(feature = "encryption")]
#[derive(Clone, Debug, Default)]
pub struct DeviceNews {
    pub events: Value,
    pub device_lists: Value,
    pub one_time_keys: Value,
    pub fallback_keys: Value,
}

#[derive(Deserialize)]
struct SyncAnswer {
    next_batch: String,
    #[serde(default, deserialize_with = "or_default")]
    rooms: Rooms,
    #[cfg(feature = "encryption")]
    #[serde(default, deserialize_with = "or_default")]
    to_device: ToDevice,
    #[cfg(feature = "encryption")]
    #[serde(default)]
    device_lists: Value,
    #[cfg(feature = "encryption")]
    #[serde(default)]
    device_one_time_keys_count: Value,
    #[cfg(feature = "encryption")]
    #[serde(default)]
    device_unused_fallback_key_types: Value,
}

impl SyncAnswer {
    /// `me`: whose own events are left out; `None`: the answer has no events.
    fn synced(self, me: Option<&UserId>) -> Synced {
        let Rooms { join, invite, leave } = self.rooms;
        let heard = |(room, part): (String, _)| Some(heard(me?, RoomId::parse(&room).ok()?, part));
        let others = leave.keys().chain(invite.keys()).filter_map(|room| RoomId::parse(room).ok()).collect();
        // Of a room that the account has just left, there is what was written before.
        let rooms = replaced::sorted(join.into_iter().chain(leave).filter_map(heard).collect());
        Synced {
            next_batch: self.next_batch,
            rooms,
            others,
            #[cfg(feature = "encryption")]
            device: DeviceNews {
                events: self.to_device.events.into(),
                device_lists: self.device_lists,
                one_time_keys: self.device_one_time_keys_count,
                fallback_keys: self.device_unused_fallback_key_types,
            },
        }
    }
}

#[cfg(feature = "encryption")]
#[derive(Default, Deserialize)]
struct ToDevice {
    #[serde(default, deserialize_with = "lenient_list")]
    events: Vec<Value>,
}

/// What was written in one room.
#[derive(Debug)]
pub struct Heard {
    pub room: RoomId,
    /// In the room's order.
    pub events: Vec<RoomEvent>,
    /// If the account has just come into the room or left it, what was written while it was there: it may be from long before, so it is
    /// for Odoo only if the room's history may not be read.
    pub unless_read: Vec<RoomEvent>,
    pub names: Names,
    /// The answer left out events that came before `events`.
    pub has_gap: bool,
    /// Encryption, replacement or members of the room may have changed.
    pub is_changed: bool,
    /// The rooms that replaced it, as it says here.
    pub successors: Vec<RoomId>,
}

/// A page of a room's history.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<RoomEvent>,
    pub names: Names,
    /// Where the next page begins; `None` after the last one.
    pub end: Option<String>,
    /// Whether the account is in the room after the last event, if the pages so far say that.
    pub is_in: Option<bool>,
}

/// One event with its room, as it is passed on to Odoo.
#[derive(Clone)]
pub struct RoomEvent {
    pub id: EventId,
    pub sender: String,
    pub json: Value,
}

#[cfg(feature = "encryption")]
impl RoomEvent {
    /// The event that was in this one; `None` if it is of no interest to Odoo.
    pub fn decrypted(&self, kind: &str, content: Value) -> Option<Self> {
        let mut event = self.clone();
        event.json["type"] = kind.into();
        event.json["content"] = content;
        TYPES.contains(&kind).then_some(event)
    }

    /// The same for Odoo, which is to show that it could not be read, and why.
    pub fn unreadable(&self, reason: &str) -> Self {
        let mut event = self.clone();
        event.json["content"] = json!({});
        event.json["org.odoo.unreadable"] = reason.into();
        event
    }
}

impl std::fmt::Debug for RoomEvent {
    /// Without the content, which is private.
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
        let types = TYPES.iter().chain(&LOOKED_AT);
        #[cfg(feature = "encryption")]
        let types = types.chain([&ENCRYPTED]);
        self.upload_filter_of(me, types.collect()).await
    }

    /// A filter that also leaves out what is written.
    #[cfg(feature = "encryption")]
    pub async fn upload_device_filter(&self, me: &UserId) -> Result<String, SendError> {
        self.upload_filter_of(me, LOOKED_AT.iter().collect()).await
    }

    async fn upload_filter_of(&self, me: &UserId, types: Vec<&&str>) -> Result<String, SendError> {
        let nothing = json!({ "types": [] });
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
        #[derive(Deserialize)]
        struct Stored {
            filter_id: String,
        }
        let stored: Stored = self.call(Method::POST, &path, &[], Some(filter.to_string())).await?;
        Ok(stored.filter_id)
    }

    /// The present place in the stream: a first `GET /sync` that looks at no room.
    pub async fn stream_now(&self) -> Result<Synced, SendError> {
        let nothing = json!({ "types": [] });
        // Synapse answers the same first sync from its cache for two minutes. The name excludes nothing, as no presence is asked for.
        let look = format!("@now-{:016x}:look.invalid", fastrand::u64(..));
        let filter = json!({
            "presence": { "types": [], "not_senders": [look] },
            "account_data": nothing,
            "room": { "rooms": [] },
        });
        let query = [("timeout", "0"), ("set_presence", "offline"), ("filter", &*filter.to_string())];
        let bounds = (self.timeout, SYNC_LIMIT);
        let answer: SyncAnswer = self.call_patiently(Method::GET, &["sync"], &query, None, bounds).await?;
        // It has no rooms that the account is in.
        Ok(answer.synced(None))
    }

    /// `GET /sync`: waits for `wait` at most until something comes after `since`.
    pub async fn sync(&self, me: &UserId, filter: &str, since: &str, wait: Duration) -> Result<Synced, SendError> {
        let milliseconds = wait.as_millis().to_string();
        let query = [("timeout", &*milliseconds), ("set_presence", "offline"), ("filter", filter), ("since", since)];
        let bounds = (wait + self.timeout, SYNC_LIMIT);
        let answer: SyncAnswer = self.call_patiently(Method::GET, &["sync"], &query, None, bounds).await?;
        Ok(answer.synced(Some(me)))
    }

    /// `GET /rooms/{roomId}/event/{eventId}`; `None` if it is not of interest to Odoo.
    #[cfg(feature = "encryption")]
    pub async fn event(&self, me: &UserId, room: &RoomId, id: &EventId) -> Result<Option<RoomEvent>, SendError> {
        let path = ["rooms", room.as_str(), "event", id.as_str()];
        Ok(room_event(me, room, self.call(Method::GET, &path, &[], None).await?))
    }

    /// `GET /rooms/{roomId}/messages`: the room's events after a place in the stream, in order. `is_in`: whether the account was in the
    /// room there, if that is known.
    pub async fn page(&self, me: &UserId, room: &RoomId, from: &str, is_in: Option<bool>) -> Result<Page, SendError> {
        let mut types = TYPES.to_vec();
        types.push(MEMBER);
        #[cfg(feature = "encryption")]
        types.push(ENCRYPTED);
        let filter = json!({ "types": types, "lazy_load_members": true });
        let (limit, filter) = (EVENTS_OF_PAGE.to_string(), filter.to_string());
        let query = [("dir", "f"), ("from", from), ("limit", &*limit), ("filter", &*filter)];
        let path = ["rooms", room.as_str(), "messages"];
        let bounds = (self.timeout, ANSWER_LIMIT.max(EVENTS_OF_PAGE * (128 << 10)));
        let page: Messages = self.call_patiently(Method::GET, &path, &query, None, bounds).await?;
        let (events, is_in) = written_while_in(me, room, page.chunk, is_in);
        Ok(Page { events, names: names(&page.state), end: page.end.filter(|end| end != from), is_in })
    }
}

pub(super) fn heard(me: &UserId, room: RoomId, part: RoomPart) -> Heard {
    let (timeline, has_gap) = (part.timeline.events, part.timeline.limited);
    let is_one_of = |event: &Event, types: &[&str]| types.contains(&&*event.kind);
    // The members in the state are the senders; without a gap, changes of members are in the timeline.
    let is_changed = has_gap
        || timeline.iter().any(|event| is_one_of(event, &LOOKED_AT))
        || part.state.events.iter().any(|event| is_one_of(event, &LOOKED_AT[1..]));
    // The answer may begin long before the place in the stream: pages from there on are read instead.
    let may_be_old = has_gap && timeline.iter().any(|event| event.is_membership_of(me.as_str()));
    // Its state has what came before the events of the answer.
    let successors = replaced::successors(part.state.events.iter().chain(&timeline));
    let (written, _) = written_while_in(me, &room, timeline, None);
    let (events, unless_read) = if may_be_old { (Vec::new(), written) } else { (written, Vec::new()) };
    Heard { events, unless_read, names: names(&part.state.events), has_gap, is_changed, successors, room }
}

/// An event for Odoo: from somebody else, and of a type that it needs. `None` for anything else, and for what is not an
/// event.
pub(super) fn room_event(me: &UserId, room: &RoomId, event: Event) -> Option<RoomEvent> {
    let (id, sender) = (EventId::new(event.event_id.as_deref()?), event.sender.clone()?);
    let is_usable = TYPES.contains(&&*event.kind);
    #[cfg(feature = "encryption")]
    let is_usable = is_usable || event.kind == ENCRYPTED;
    if !is_usable || sender == me.as_str() {
        return None;
    }
    let mut json = serde_json::to_value(event).ok()?;
    json["room_id"] = room.as_str().into();
    Some(RoomEvent { id, sender, json })
}

fn names(members: &[Event]) -> Names {
    let name = |event: &Event| {
        let person = event.state_key.clone().filter(|person| event.is_membership_of(person))?;
        Some((person, event.text("displayname")?.to_owned()))
    };
    members.iter().filter_map(name).collect()
}

/// The events that come before the first one in `known`, and whether there was one.
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
