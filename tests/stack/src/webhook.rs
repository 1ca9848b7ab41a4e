//! A double of Odoo's doors for the worker: the webhook takes each event once, in the order in which it comes; files are given; both
//! refuse on demand.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

use crate::homeserver::http::{self, Call};

/// What it accepts as secret.
pub const SECRET: &str = "webhook_double_secret";

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Status(u16),
    /// The connection is reset and nothing is stored.
    Reset,
    /// The events are stored, then the connection is reset.
    ResetAccepted,
    /// Nothing is stored and nothing is answered.
    Silence,
}

/// A running double. Dropping it closes its port and all connections.
pub struct Webhook {
    port: u16,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    events: Vec<Value>,
    ids: HashSet<String>,
    names: serde_json::Map<String, Value>,
    databases: HashSet<String>,
    paths: HashSet<String>,
    repeated: usize,
    posts: usize,
    /// Calls without an event, which meet no fault.
    knocks: usize,
    faults: VecDeque<Fault>,
    standing_fault: Option<Fault>,
    poison: Option<String>,
    most_events: Option<usize>,
    /// By the transaction id of their message.
    files: HashMap<String, Vec<u8>>,
    /// How often each was given.
    gifts: HashMap<String, usize>,
    /// What the worker showed when it was given one last.
    proof: Option<String>,
}

impl Webhook {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::<Shared>::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, shared.clone()));
        Ok(Self { port, shared, _serving: serving })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mail_matrix/inbound/1", self.port)
    }

    pub fn files_url(&self) -> String {
        format!("http://127.0.0.1:{}/mail_matrix/files/1", self.port)
    }

    /// Odoo has a file for the message with this transaction id.
    pub fn give(&self, txn_id: &str, bytes: &[u8]) {
        self.shared.lock().files.insert(txn_id.to_owned(), bytes.to_owned());
    }

    /// How often the file was given.
    pub fn given(&self, txn_id: &str) -> usize {
        self.shared.lock().gifts.get(txn_id).copied().unwrap_or_default()
    }

    /// What the worker showed when it was given a file last.
    pub fn proof(&self) -> Option<String> {
        self.shared.lock().proof.clone()
    }

    /// The bodies of what a room said, each event once, in the order in which they came.
    pub fn bodies(&self, room: &str) -> Vec<String> {
        let state = self.shared.lock();
        let of_room = state.events.iter().filter(|event| event["room_id"] == room);
        of_room.map(|event| event["content"]["body"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// All events, each once.
    pub fn events(&self) -> Vec<Value> {
        self.shared.lock().events.clone()
    }

    /// What somebody is called, by what came with the events.
    pub fn name(&self, sender: &str) -> Option<String> {
        self.shared.lock().names.get(sender)?.as_str().map(str::to_owned)
    }

    /// The databases that were named.
    pub fn databases(&self) -> HashSet<String> {
        self.shared.lock().databases.clone()
    }

    /// How and where it was called with events.
    pub fn paths(&self) -> HashSet<String> {
        self.shared.lock().paths.clone()
    }

    /// How many events came that had come before.
    pub fn repeated(&self) -> usize {
        self.shared.lock().repeated
    }

    /// How often it was called without an event.
    pub fn knocks(&self) -> usize {
        self.shared.lock().knocks
    }

    /// How often it was called with events.
    pub fn posts(&self) -> usize {
        self.shared.lock().posts
    }

    /// The next `times` calls meet `fault`.
    pub fn fail_next(&self, times: usize, fault: Fault) {
        self.shared.lock().faults.extend(std::iter::repeat_n(fault, times));
    }

    /// Every call meets `fault`, until [`Webhook::heal`].
    pub fn fail_always(&self, fault: Fault) {
        self.shared.lock().standing_fault = Some(fault);
    }

    pub fn heal(&self) {
        self.shared.lock().standing_fault = None;
    }

    /// A call with this body among its events is answered with 422.
    pub fn poison(&self, body: &str) {
        self.shared.lock().poison = Some(body.to_owned());
    }

    /// A call with more events is answered with 413.
    pub fn take_at_most(&self, events: usize) {
        self.shared.lock().most_events = Some(events);
    }

    /// Waits until `seen` is true of the double.
    ///
    /// # Panics
    /// After a minute, with what it has seen.
    pub async fn until(&self, what: &str, seen: impl Fn(&Self) -> bool) {
        if !crate::changes::until(&self.shared.changed, || seen(self)).await {
            let state = self.shared.lock();
            panic!("waited a minute for {what}; {} calls, {} events", state.posts, state.events.len());
        }
    }

    /// Waits until so many different events have come.
    pub async fn until_events(&self, count: usize) {
        self.until(&format!("{count} events at the webhook"), |webhook| webhook.events().len() >= count).await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A file for whoever shows some proof; Odoo judges it.
    fn file(&mut self, call: &Call) -> Result<Vec<u8>, u16> {
        if let Some(Fault::Status(status)) = self.faults.pop_front().or(self.standing_fault) {
            return Err(status);
        }
        let proof = call.authorization.as_deref().and_then(|shown| shown.strip_prefix("Bearer ")).ok_or(401_u16)?;
        self.proof = Some(proof.to_owned());
        self.databases.extend(call.database.clone());
        let txn_id = call.path.last().cloned().unwrap_or_default();
        let file = self.files.get(&txn_id).cloned().ok_or(404_u16)?;
        *self.gifts.entry(txn_id).or_default() += 1;
        Ok(file)
    }

    fn take(&mut self, call: &Call) -> (u16, Option<Fault>) {
        if call.body["events"].as_array().is_some_and(Vec::is_empty) {
            self.knocks += 1;
            return (200, None);
        }
        self.posts += 1;
        self.paths.insert(format!("{} {}", call.method, call.path.join("/")));
        let fault = self.faults.pop_front().or(self.standing_fault);
        if let Some(Fault::Status(status)) = fault {
            return (status, fault);
        }
        if matches!(fault, Some(Fault::Reset | Fault::Silence)) {
            return (0, fault);
        }
        if call.authorization.as_deref() != Some(&format!("Bearer {SECRET}")) {
            return (401, fault);
        }
        let events = call.body["events"].as_array().cloned().unwrap_or_default();
        let is_poison =
            |event: &Value| event["content"]["body"].as_str().is_some_and(|body| Some(body) == self.poison.as_deref());
        if events.iter().any(is_poison) {
            return (422, fault);
        }
        if self.most_events.is_some_and(|most| events.len() > most) {
            return (413, fault);
        }
        self.databases.extend(call.database.clone());
        self.names.extend(call.body["names"].as_object().cloned().unwrap_or_default());
        for event in events {
            let id = event["event_id"].as_str().unwrap_or_default();
            // One that could not be read may come again readable.
            let form = if event["type"] == "m.room.encrypted" { "unreadable" } else { "" };
            if self.ids.insert(format!("{id}{form}")) {
                self.events.push(event);
            } else {
                self.repeated += 1;
            }
        }
        (200, fault)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    http::accept(listener, move |stream| {
        let shared = shared.clone();
        async move { connection(stream, &shared).await }
    })
    .await;
}

async fn connection(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(call) = http::read_call(&mut stream, &mut buffer).await? {
        if call.method == "GET" {
            let file = shared.lock().file(&call);
            let (status, bytes) = file.map_or_else(|status| (status, Vec::new()), |bytes| (200, bytes));
            let head = format!("HTTP/1.1 {status} Double\r\nContent-Length: {}\r\n\r\n", bytes.len());
            stream.write_all(&[head.as_bytes(), &bytes].concat()).await?;
            shared.changed.notify_waiters();
            continue;
        }
        let (status, fault) = shared.lock().take(&call);
        shared.changed.notify_waiters();
        match fault {
            Some(Fault::Reset | Fault::ResetAccepted) => {
                stream.set_zero_linger()?;
                return Ok(());
            }
            // Waits until the client gives up.
            Some(Fault::Silence) => {
                http::read_call(&mut stream, &mut buffer).await?;
                return Ok(());
            }
            _ => stream.write_all(&http::bytes(&http::plain(status, json!({})))).await?,
        }
    }
    Ok(())
}
