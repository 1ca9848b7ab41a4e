//! What others write in rooms, as `GET /sync` and `GET /rooms/{roomId}/messages` return it to a client that follows the
//! account.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Answer, BOT, Fault, Homeserver, Shared, World};

/// All that was said. A place in it is how much was said before.
pub(super) struct Stream {
    said: Vec<(String, Value)>,
    faults: VecDeque<Fault>,
    /// Meets every call that asks for memberships.
    membership_fault: Option<Fault>,
    events_of_room: usize,
    /// Places before this one are not known any more.
    forgotten: usize,
    /// From where on a client waits for what is said next.
    waiting: Option<usize>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            said: Vec::new(),
            faults: VecDeque::new(),
            membership_fault: None,
            events_of_room: 50,
            forgotten: 0,
            waiting: None,
        }
    }
}

impl Homeserver {
    /// Somebody says something in a room. Returns the event's id.
    pub fn say(&self, room: &str, sender: &str, body: &str) -> String {
        self.tell(room, sender, "m.room.message", json!({ "msgtype": "m.text", "body": body }))
    }

    /// Somebody sends an event of any type.
    pub fn tell(&self, room: &str, sender: &str, event_type: &str, content: Value) -> String {
        let mut world = self.shared.world();
        let at = world.stream.said.len();
        let id = format!("$said{at}");
        let event = json!({
            "event_id": id, "type": event_type, "sender": sender, "origin_server_ts": 1_700_000_000_000_u64 + at as u64,
            "content": content, "unsigned": { "age": 1 },
        });
        world.stream.said.push((room.to_owned(), event));
        drop(world);
        self.shared.changed.notify_waiters();
        id
    }

    /// Somebody removes the account from a room.
    pub fn remove(&self, room: &str) {
        let mut world = self.shared.world();
        let event = json!({
            "event_id": format!("$said{}", world.stream.said.len()), "type": "m.room.member", "state_key": BOT,
            "sender": "@admin:double.test", "content": { "membership": "leave" },
            "unsigned": { "prev_content": { "membership": "join" } },
        });
        world.stream.said.push((room.to_owned(), event));
        drop(world);
        self.shared.changed.notify_waiters();
    }

    /// One answer has at most this many events of a room; the rest is a gap.
    pub fn tell_at_most(&self, events: usize) {
        self.shared.world().stream.events_of_room = events;
    }

    /// The next time that the account is read meets `fault`.
    pub fn fail_reading(&self, fault: Fault) {
        self.shared.world().stream.faults.push_back(fault);
        self.shared.changed.notify_waiters();
    }

    /// Whenever the account asks which rooms it is in, it meets `fault`.
    pub fn fail_memberships(&self, fault: Fault) {
        self.shared.world().stream.membership_fault = Some(fault);
    }

    /// As a homeserver that was restored from a backup: places that it gave out are unknown to it.
    pub fn forget_places(&self) {
        let mut world = self.shared.world();
        world.stream.forgotten = world.stream.said.len() + 1;
        // A place of after that has something before it.
        world.stream.said.push(("!other:double.test".to_owned(), json!({ "sender": BOT })));
        drop(world);
        self.shared.changed.notify_waiters();
    }

    /// How often clients that follow the account have asked for events.
    pub fn readings(&self) -> usize {
        self.requests().iter().filter(|request| request.path == ["sync"]).count()
    }

    /// Whether the client that follows the account knows all that was said, and waits for more.
    pub fn is_read(&self) -> bool {
        let stream = &self.shared.world().stream;
        stream.waiting == Some(stream.said.len())
    }
}

/// Whether a call follows the account, from which place on.
fn since(query: &str) -> Option<usize> {
    parameter(query, "since")?.get(1..)?.parse().ok()
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

impl Stream {
    fn has_news(&self, since: usize) -> bool {
        since < self.forgotten || since < self.said.len()
    }
}

impl World {
    pub(super) fn take_reading_fault(&mut self, path: &[&str], query: &str) -> Option<Fault> {
        match since(query) {
            Some(_) => self.stream.faults.pop_front(),
            None if path == ["sync"] => self.stream.membership_fault.clone(),
            None => None,
        }
    }
}

/// A call that follows the account waits for new events, for as long as it asks for.
pub(super) async fn wait(shared: &Shared, path: &[String], query: &str) {
    let (true, Some(since)) = (path == ["sync"], since(query)) else { return };
    let limit = parameter(query, "timeout").and_then(|time| time.parse().ok()).unwrap_or(0);
    shared.world().stream.waiting = (limit > 0).then_some(since);
    shared.changed.notify_waiters();
    let news = async {
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let stream = &shared.world().stream;
                if stream.has_news(since) || !stream.faults.is_empty() {
                    return;
                }
            }
            changed.await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(limit), news).await;
}

/// The answer to a call of a client that follows the account.
pub(super) fn handle(world: &World, method: &str, path: &[&str], query: &str) -> Option<Answer> {
    let stream = &world.stream;
    match (method, path) {
        ("POST", ["user", _, "filter"]) => Some(Answer::ok(json!({ "filter_id": "1" }))),
        ("GET", ["sync"]) => match since(query) {
            Some(since) if since < stream.forgotten => Some(Answer::refused(400, "M_UNKNOWN", "Invalid token")),
            Some(since) => Some(Answer::ok(events_since(stream, since))),
            // With a filter that names no room.
            None if query.contains("%22rooms%22%3A%5B%5D") => {
                Some(Answer::ok(json!({ "next_batch": format!("s{}", stream.said.len()) })))
            }
            None => None,
        },
        ("GET", ["rooms", room, "messages"]) if parameter(query, "dir") == Some("f") => {
            let from: usize = parameter(query, "from")?.get(1..)?.parse().ok()?;
            let limit = parameter(query, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(10);
            let of_room = stream.said.iter().enumerate().skip(from);
            let of_room = of_room.filter(|(_, (own, event))| own == room && event["sender"] != BOT).take(limit);
            let chunk: Vec<_> = of_room.collect();
            let mut answer = json!({ "start": format!("t{from}") });
            if let Some((last, _)) = chunk.last() {
                answer["end"] = json!(format!("t{}", last + 1));
            }
            answer["chunk"] = chunk.into_iter().map(|(_, (_, event))| event.clone()).collect();
            Some(Answer::ok(answer))
        }
        _ => None,
    }
}

fn events_since(stream: &Stream, since: usize) -> Value {
    let mut rooms: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for (room, event) in stream.said.iter().skip(since) {
        rooms.entry(room).or_default().push(event);
    }
    let mut answer = json!({ "next_batch": format!("s{}", stream.said.len()), "rooms": { "join": {} } });
    for (room, events) in rooms {
        let left_out = events.len().saturating_sub(stream.events_of_room);
        let senders: Vec<_> = events.iter().filter_map(|event| event["sender"].as_str()).collect();
        let member = |sender: &&str| json!({ "type": "m.room.member", "state_key": sender, "sender": sender, "content": { "membership": "join", "displayname": format!("Name of {sender}") } });
        answer["rooms"]["join"][room] = json!({
            "state": { "events": senders.iter().map(member).collect::<Vec<_>>() },
            "timeline": { "events": events[left_out..], "limited": left_out > 0, "prev_batch": "t0" },
        });
    }
    answer
}
