//! Thirty encrypted rooms in which an office writes, who reads them, and what must be in them.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fastrand::Rng;
use stack::{
    postgres::Postgres,
    process::Process,
    progress::say,
    synapse::User,
    worker::with_failpoints,
    world::{World, kill},
};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    BINARY,
    delivery::Office,
    people::{Reader, STRICT, assert_no_index_twice},
};

pub(super) const ROOMS: usize = 30;

/// Thirty rooms at once keep a homeserver on a small machine busy for longer than usual.
pub(super) const LEASE: Duration = Duration::from_secs(12);
const PATIENT: [(&str, &str); 2] = [("HTTP_TIMEOUT_SECONDS", "5"), ("WORKER_LEASE_SECONDS", "12")];

/// Many times what any step takes, also beside others.
const STUCK_AFTER: Duration = Duration::from_secs(600);

const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A step at which the worker dies, at the `times`-th time that it is there.
#[derive(Clone, Copy)]
pub(super) struct Death {
    pub(super) point: &'static str,
    pub(super) at_most: u32,
    pub(super) seed: u64,
}

pub(super) struct Scene {
    pub(super) office: Office,
    anna: User,
    reader: Reader,
    rooms: Vec<String>,
    /// What must be in each of the rooms.
    wanted: Vec<String>,
    /// How much of that was judged.
    judged: usize,
    /// What is tried at present: it is in the messages, so that one that is missing says when that was.
    now: String,
    pub(super) random: Rng,
}

impl Scene {
    pub(super) async fn open(postgres: &Postgres) -> Self {
        let office = Office::on(World::on(postgres, with_failpoints(BINARY)).await).await;
        let anna = office.person("anna").await;
        let reader = Reader::new(&office.synapse, &anna).await;
        let mut rooms = Vec::new();
        for _ in 0..ROOMS {
            rooms.push(office.encrypted_room(&[&anna]).await);
        }
        let (now, random) = ("start".to_owned(), Rng::new());
        Self { office, anna, reader, rooms, wanted: Vec::new(), judged: 0, now, random }
    }

    /// What is tried from now on, with its own random numbers.
    pub(super) fn begin(&mut self, what: &str, seed: u64) {
        self.now = format!("{what}, seed {seed}");
        self.random = Rng::with_seed(what.bytes().fold(seed, |mixed, byte| mixed.wrapping_mul(31) + u64::from(byte)));
    }

    pub(super) fn worker(&self, name: &str) -> Process {
        self.office.worker_with(name, &PATIENT)
    }

    /// `rounds` more messages for each room.
    pub(super) async fn more(&mut self, rounds: usize) {
        let rooms: Vec<_> = self.rooms.iter().map(String::as_str).collect();
        for _ in 0..rounds {
            let body = format!("{}: message {}", self.now, self.wanted.len() + 1);
            self.office.world.enqueue_many(&rooms, &body, 1).await;
            self.wanted.push(body);
        }
    }

    async fn waiting(&self) -> i64 {
        let count = "SELECT count(*) FROM matrix_outbox";
        self.office.world.client.query_one(count, &[]).await.unwrap().get(0)
    }

    /// Waits until at most `left` messages wait.
    async fn until_left(&self, left: i64) {
        let deadline = Instant::now() + STUCK_AFTER;
        while self.waiting().await > left {
            if Instant::now() > deadline {
                let kept = self.keep_traces().await;
                panic!("{}: {} messages still wait; see {}", self.now, self.waiting().await, kept.display());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until some of what waits has been sent.
    pub(super) async fn some_are_sent(&mut self) {
        let waiting = self.waiting().await;
        let left = self.random.i64(waiting / 4..=waiting * 3 / 4);
        self.until_left(left).await;
    }

    pub(super) async fn until_empty(&self) {
        self.until_left(0).await;
    }

    /// Nothing is lost, doubled, out of order or unreadable, and no position in a key stream was used for two texts. Of the messages, only
    /// those since the last time are read again. Returns how many messages there were, and with how many keys.
    pub(super) async fn judge(&mut self) -> (usize, usize) {
        self.until_empty().await;
        let mut keys = 0;
        for room in &self.rooms {
            let read = self.reader.read_after(room, self.judged, STRICT).await;
            let wanted = &self.wanted[self.judged..];
            let is_as = |at: usize| wanted.get(at) == read.get(at).and_then(|text| text.as_ref().ok());
            if let Some(wrong) = (0..wanted.len().max(read.len())).find(|at| !is_as(*at)) {
                let kept = self.keep_traces().await;
                let (wanted, read) = (&wanted[wrong.min(wanted.len())..], &read[wrong.min(read.len())..]);
                panic!("{}, {room}: wanted {wanted:?}, read {read:?}; see {}", self.now, kept.display());
            }
            keys += assert_no_index_twice(&self.anna, room).await;
        }
        self.judged = self.wanted.len();
        let odd = "SELECT array_agg(DISTINCT payload) FROM (
            SELECT min(payload) AS payload FROM matrix_log WHERE is_final
            GROUP BY outbox_id HAVING count(*) <> 1 OR bool_or(status <> 'ok')
        ) AS message";
        let odd: Option<Vec<String>> = self.office.world.client.query_one(odd, &[]).await.unwrap().get(0);
        assert_eq!(odd, None, "{}: each message has one final row, and it says that it was sent", self.now);
        (self.wanted.len() * self.rooms.len(), keys)
    }

    /// What somebody needs to find out what went wrong. The scene itself is gone after a failure.
    async fn keep_traces(&self) -> PathBuf {
        let mut traces = self.office.world.worker_logs();
        for table in ["matrix_backend_status", "matrix_follower", "matrix_crypto", "matrix_lane", "matrix_log"] {
            let rows = format!("SELECT to_jsonb(t)::text FROM {table} AS t ORDER BY 1");
            for row in self.office.world.client.query(&rows, &[]).await.unwrap() {
                writeln!(traces, "{table} {}", row.get::<_, String>(0)).unwrap();
            }
        }
        let name = self.now.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.log"));
        std::fs::write(&path, traces).unwrap();
        path
    }

    /// A worker that is stopped at `point`, which it has reached for the `times`-th time.
    async fn until_reached(&mut self, point: &str, times: u32) -> Process {
        let folder = TempDir::new().unwrap();
        let reached = folder.path().join("reached");
        let variables = [("FAILPOINT", &*format!("{point}:{times}")), ("FAILPOINT_REACHED", reached.to_str().unwrap())];
        let victim =
            self.office.worker_with("victim", &[&PATIENT, &variables].map(|variables| &variables[..]).concat());
        let deadline = Instant::now() + STUCK_AFTER;
        while !reached.exists() {
            if Instant::now() > deadline {
                panic!("{}: not reached {times} times; see {}", self.now, self.keep_traces().await.display());
            }
            if self.waiting().await == 0 {
                self.more(1).await;
            }
            sleep(LOOK_EVERY).await;
        }
        victim
    }

    /// A worker dies, and another one or its next process goes on. Returns whether it was another one, and after what time it had sent
    /// something.
    pub(super) async fn die(&mut self, Death { point, at_most, seed }: Death) -> (bool, Duration) {
        self.begin(point, seed);
        let began = Instant::now();
        let times = self.random.u32(1..=at_most);
        let is_taken_over = self.random.bool();
        self.more(2).await;
        let victim = self.until_reached(point, times).await;
        let reached = began.elapsed();
        let other = is_taken_over.then(|| self.worker("other"));
        self.more(1).await;
        kill(&victim).await;
        let killed = Instant::now();
        let next = other.unwrap_or_else(|| self.worker("victim"));
        let left = self.waiting().await;
        self.until_left(left - 1).await;
        let away = killed.elapsed();
        self.until_empty().await;
        let drained = killed.elapsed();
        next.stop(stack::process::Signal::TERM).await.unwrap();
        let next = if is_taken_over { "another worker" } else { "its next process" };
        say(format!(
            "{}: reached {times} times after {:.1} s; {next} sent after {:.1} s, everything after {:.1} s",
            self.now,
            reached.as_secs_f64(),
            away.as_secs_f64(),
            drained.as_secs_f64(),
        ));
        (is_taken_over, away)
    }
}
