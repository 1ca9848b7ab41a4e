//! A double of the homeserver, for faults that a real one does not make on demand.
//!
//! It keeps Synapse's semantics where they matter here: the same transaction id on the same path by the same device answers
//! the same event and stores nothing; failures are not remembered; a limit is per account over all rooms.

mod direct;
mod fault;
pub(crate) mod http;
mod media;
mod rooms;
mod service;
mod stream;
mod threads;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinSet,
};

pub use self::{
    fault::Fault,
    rooms::{Membership, Room},
};

/// What the double accepts as access token.
pub const TOKEN: &str = "syt_double_secret";

/// What an application service that may act as the account shows.
pub const SERVICE_TOKEN: &str = "service_double_secret";

/// The account that the token belongs to.
pub const BOT: &str = "@bot:double.test";

/// An event that a room has taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: String,
    pub room: String,
    pub event_type: String,
    pub txn_id: String,
    pub content: Value,
    pub at: Instant,
}

impl Event {
    pub fn body(&self) -> &str {
        self.content["body"].as_str().unwrap_or_default()
    }
}

/// A running double. Dropping it closes its port and all connections.
pub struct Homeserver {
    port: u16,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

struct Shared {
    world: Mutex<World>,
    changed: Notify,
    /// While true, answers to accepted PUTs are kept back.
    holding: watch::Sender<bool>,
}

/// What the homeserver remembers.
#[derive(Default)]
struct World {
    events: Vec<Event>,
    /// By path and transaction id, as Synapse keeps them for a device.
    transactions: HashMap<(String, String), String>,
    faults: VecDeque<(Option<String>, Fault)>,
    standing_fault: Option<Fault>,
    send_fault: Option<Fault>,
    /// Rooms of a part of the homeserver that is away, and how it answers for them.
    shard: Option<(HashSet<String>, Fault)>,
    look_fault: Option<Fault>,
    /// By body: whatever is tried with this message.
    poison: HashMap<String, Fault>,
    limit: Option<Limit>,
    delay: Duration,
    device: Option<String>,
    rooms: HashMap<String, Room>,
    /// By query, as Synapse keeps answers for two minutes.
    syncs: HashMap<String, Value>,
    requests: Vec<Request>,
    /// Looks into rooms before something is sent there; not among the requests.
    looks: usize,
    in_flight: usize,
    direct: direct::Direct,
    media: media::Media,
    stream: stream::Stream,
}

/// One request, as the tests count them.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Below `/_matrix/client/v3/`, decoded.
    pub path: Vec<String>,
    /// By the application service.
    pub is_of_service: bool,
    pub at: Instant,
}

impl Request {
    pub fn is_send(&self) -> bool {
        self.path.get(2).is_some_and(|part| part == "send")
    }
}

/// A token bucket over all rooms of the account.
#[derive(Clone, Copy, Debug)]
struct Limit {
    per_second: f64,
    burst: f64,
    used: f64,
    at: Instant,
}

impl Homeserver {
    /// Listens on a free port of the loopback interface.
    pub async fn start() -> Result<Self> {
        Self::start_at(0).await
    }

    /// Listens on `port`, as a homeserver that comes back where it was.
    pub async fn start_at(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let port = listener.local_addr()?.port();
        let world = World { device: Some("DOUBLE".to_owned()), ..World::default() };
        let shared =
            Arc::new(Shared { world: Mutex::new(world), changed: Notify::new(), holding: watch::channel(false).0 });
        let mut serving = JoinSet::new();
        serving.spawn(http::serve(listener, shared.clone()));
        Ok(Self { port, shared, _serving: serving })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often the worker has looked into rooms before it sent there.
    pub fn looks(&self) -> usize {
        self.shared.world().looks
    }

    /// Every answer takes so long.
    pub fn delay(&self, delay: Duration) {
        self.shared.world().delay = delay;
    }

    /// The account may send `per_second` after a burst of `burst`.
    pub fn limit(&self, per_second: f64, burst: u32) {
        self.shared.world().limit = Some(Limit { per_second, burst: burst.into(), used: 0.0, at: Instant::now() });
    }

    /// From now on the account may send so many per second; what it has left of its burst stays.
    pub fn change_limit(&self, per_second: f64) {
        if let Some(limit) = &mut self.shared.world().limit {
            limit.used = (limit.used - limit.at.elapsed().as_secs_f64() * limit.per_second).max(0.0);
            limit.at = Instant::now();
            limit.per_second = per_second;
        }
    }

    /// The token belongs to no device.
    pub fn forget_device(&self) {
        self.shared.world().device = None;
    }

    /// What Synapse does at a restart for tokens without a device, and for all of them after a day.
    pub fn forget_transactions(&self) {
        self.shared.world().transactions.clear();
    }

    /// Accepts messages but keeps the answers back, until [`Homeserver::release`].
    pub fn hold_answers(&self) {
        self.shared.holding.send_replace(true);
    }

    pub fn release(&self) {
        self.shared.holding.send_replace(false);
    }

    /// A room with rules of its own; others take everything.
    pub fn room(&self, id: &str, room: Room) {
        self.shared.world().rooms.insert(id.to_owned(), room);
        self.shared.changed.notify_waiters();
    }

    /// The room as it is now.
    pub fn room_now(&self, id: &str) -> Option<Room> {
        self.shared.world().rooms.get(id).cloned()
    }

    /// All events of all rooms in the order in which they were taken.
    pub fn events(&self) -> Vec<Event> {
        self.shared.world().events.clone()
    }

    /// How many events have been taken.
    pub fn count(&self) -> usize {
        self.shared.world().events.len()
    }

    /// The body of one room's newest event.
    pub fn last_body(&self, room: &str) -> Option<String> {
        let world = self.shared.world();
        world.events.iter().rfind(|event| event.room == room).map(|event| event.body().to_owned())
    }

    /// How many events were taken.
    pub fn event_count(&self) -> usize {
        self.shared.world().events.len()
    }

    /// The bodies of one room's events, in order.
    pub fn bodies(&self, room: &str) -> Vec<String> {
        let world = self.shared.world();
        world.events.iter().filter(|event| event.room == room).map(|event| event.body().to_owned()).collect()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.world().requests.clone()
    }

    /// Calls that have come and not been answered.
    pub fn in_flight(&self) -> usize {
        self.shared.world().in_flight
    }

    /// Waits until `seen` is true of the double; checks again whenever anything happens at it.
    ///
    /// # Panics
    /// After a minute, with what the double has seen.
    pub async fn until(&self, what: &str, seen: impl Fn(&Self) -> bool) {
        if !crate::changes::until(&self.shared.changed, || seen(self)).await {
            let world = self.shared.world();
            panic!("waited a minute for {what}; {} requests, {} events", world.requests.len(), world.events.len());
        }
    }

    /// Waits until so many events have been taken.
    pub async fn until_events(&self, count: usize) {
        self.until(&format!("{count} events"), |double| double.shared.world().events.len() >= count).await;
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Puts a message into a room, or finds it there.
    fn accept(&mut self, room: &str, event_type: &str, txn_id: &str, content: Value) -> Answer {
        let key = (format!("{room}/{event_type}"), txn_id.to_owned());
        if let Some(event_id) = self.transactions.get(&key) {
            return Answer::ok(json!({ "event_id": event_id }));
        }
        if let Some(retry_after_ms) = self.limit.as_mut().and_then(Limit::take) {
            return Answer::limited(retry_after_ms);
        }
        if let Some(refused) = self.rooms.get(room).and_then(Room::refuses_message) {
            return refused;
        }
        if let Some(refused) = self.refuses_relation(room, &content) {
            return refused;
        }
        let id = format!("${}", self.events.len());
        self.transactions.insert(key, id.clone());
        self.events.push(Event {
            id: id.clone(),
            room: room.to_owned(),
            event_type: event_type.to_owned(),
            txn_id: txn_id.to_owned(),
            content,
            at: Instant::now(),
        });
        Answer::ok(json!({ "event_id": id }))
    }
}

impl World {
    /// Takes the redaction of an event of this room.
    fn redact(&mut self, room: &str, event_id: &str, txn_id: &str, mut content: Value) -> Answer {
        if !self.events.iter().any(|event| event.room == room && event.id == event_id) {
            return Answer::refused(404, "M_NOT_FOUND", "Event not found.");
        }
        content["redacts"] = json!(event_id);
        self.accept(room, "m.room.redaction", txn_id, content)
    }
}

impl Limit {
    /// Takes a place, or says in how many ms there is one.
    fn take(&mut self) -> Option<u64> {
        let now = Instant::now();
        self.used = (self.used - now.duration_since(self.at).as_secs_f64() * self.per_second).max(0.0);
        self.at = now;
        if self.used + 1.0 <= self.burst {
            self.used += 1.0;
            return None;
        }
        Some((((self.used + 1.0 - self.burst) / self.per_second) * 1000.0).ceil() as u64)
    }
}

/// What goes back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    body: Value,
    headers: Vec<(String, String)>,
}

impl Answer {
    fn ok(body: Value) -> Self {
        Self { status: 200, body, headers: Vec::new() }
    }

    fn refused(status: u16, errcode: &str, error: &str) -> Self {
        Self { status, body: json!({ "errcode": errcode, "error": error }), headers: Vec::new() }
    }

    fn limited(retry_after_ms: u64) -> Self {
        let body =
            json!({ "errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": retry_after_ms });
        let seconds = retry_after_ms.div_ceil(1000).to_string();
        Self { status: 429, body, headers: vec![("Retry-After".to_owned(), seconds)] }
    }
}
