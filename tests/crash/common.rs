//! What these tests share: a server of their own, the worker with failpoints, a serial producer, many worlds at once.

use std::{
    fmt::Debug,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use stack::schedule::{alone, beside};
use stack::{
    postgres::{Options, Postgres},
    process::Process,
    worker,
    world::World,
};
use tempfile::TempDir;
use tokio::{
    sync::{OnceCell, Semaphore},
    task::JoinSet,
};

use crate::BINARY;

/// The lease that the worlds set, in seconds: take-over is measured by it.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// The worker's listener holds its name.
pub(crate) const LISTENS: &str = "SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.classid = 1836348025)";

/// A server with room for many worlds.
pub(crate) async fn cluster() -> &'static Postgres {
    static CLUSTER: OnceCell<Postgres> = OnceCell::const_new();
    let start = async || {
        let settings = vec![("max_connections".to_owned(), "600".to_owned())];
        Postgres::cluster(Options { settings, ..Options::default() }).await
    };
    CLUSTER.get_or_try_init(start).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// The worker with its failpoints.
pub(crate) fn failpoints() -> &'static str {
    worker::with_failpoints(BINARY)
}

/// Queues the next messages of some rooms, one transaction after the other, and remembers what was committed.
pub(crate) struct Producer {
    pub(crate) rooms: Vec<String>,
    pub(crate) ids: Vec<i64>,
    rounds: usize,
}

impl Producer {
    pub(crate) fn new(rooms: usize) -> Self {
        let rooms = (0..rooms).map(|number| format!("!room{number}:double.test")).collect();
        Self { rooms, ids: Vec::new(), rounds: 0 }
    }

    /// `rounds` more messages for each room.
    pub(crate) async fn more(&mut self, world: &World, rounds: usize) {
        let rooms: Vec<_> = self.rooms.iter().map(String::as_str).collect();
        for _ in 0..rounds {
            self.rounds += 1;
            self.ids.extend(world.enqueue_many(&rooms, &format!("message {}", self.rounds), 1).await);
        }
    }

    /// The invariants: nothing lost, doubled or out of order, one final row each, no lane held.
    pub(crate) async fn assert_delivered(&self, world: &World) {
        world.assert_settled(&self.ids).await;
        let wanted: Vec<_> = (1..=self.rounds).map(|round| format!("message {round}")).collect();
        for room in &self.rooms {
            assert_eq!(world.homeserver.bodies(room), wanted, "{room}");
        }
    }
}

/// A kill at one point, with its own chances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) point: &'static str,
    pub(crate) seed: u64,
}

/// Each of the points with each seed.
pub(crate) fn cases(points: &[&'static str], seeds: u64) -> Vec<Case> {
    points.iter().flat_map(|point| (0..seeds).map(move |seed| Case { point, seed })).collect()
}

/// Runs `play` for each case, `at_once` of them side by side, and returns what each gave. A failure names its case.
pub(crate) async fn side_by_side<C, T, F>(at_once: usize, cases: Vec<C>, play: impl Fn(C) -> F) -> Vec<T>
where
    C: Clone + Debug,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(at_once));
    let mut playing = JoinSet::new();
    let mut names = std::collections::HashMap::new();
    for case in cases {
        let permit = places.clone().acquire_owned().await.unwrap();
        let game = play(case.clone());
        let task = playing.spawn(async move {
            let _permit = permit;
            game.await
        });
        names.insert(task.id(), case);
    }
    let mut results = Vec::new();
    while let Some(ended) = playing.join_next().await {
        match ended {
            Ok(result) => results.push(result),
            Err(error) => panic!("{:?}: {error}", names[&error.id()]),
        }
    }
    results
}

/// A worker that is stopped at `point`, which it has reached for the `times`-th time.
pub(crate) async fn until_reached(world: &World, point: &str, times: usize) -> Process {
    let folder = TempDir::new().unwrap();
    let reached = folder.path().join("reached");
    let variables = [("FAILPOINT", &*format!("{point}:{times}")), ("FAILPOINT_REACHED", reached.to_str().unwrap())];
    let victim = world.worker_with("victim", &variables);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached.exists() {
        assert!(Instant::now() < deadline, "{point} was not reached {times} times\n{}", world.worker_logs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    victim
}

/// The slowest.
pub(crate) fn longest(times: impl IntoIterator<Item = Duration>) -> Duration {
    times.into_iter().max().unwrap_or_default()
}

/// The first line of one of the worker's statements, by which the proxy knows it.
pub(crate) fn statement(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql").join(name).with_extension("sql");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().next().unwrap().to_owned()
}
