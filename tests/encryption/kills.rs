//! The worker's own process while it writes in thirty encrypted rooms: killed at each step, frozen until another one has taken over, and with
//! servers that restart. A client that is independent of it judges what is in the rooms. For the long form only: `make soak`.

use std::{
    path::Path,
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use fastrand::Rng;
use stack::{
    postgres::{Options, Postgres, Shutdown},
    process::{Process, Signal},
    report,
    synapse::User,
    world::{World, kill},
};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    delivery::Office,
    people::{Reader, STRICT, assert_no_index_twice},
};

const ROOMS: usize = 30;

/// Thirty rooms at once keep a homeserver on a small machine busy for longer than usual.
const LEASE: Duration = Duration::from_secs(20);
const PATIENT: [(&str, &str); 2] = [("HTTP_TIMEOUT_SECONDS", "8"), ("WORKER_LEASE_SECONDS", "20")];

/// The steps, and how often each is reached at most before the kill. `PutSent` comes after each call to the homeserver, so also between those
/// about keys.
const POINTS: [(&str, u32); 9] = [
    ("AfterClaim", 40),
    ("KeysStored", 40),
    ("BeforePut", 60),
    ("PutSent", 150),
    ("AnswerRead", 60),
    ("BeforeFlush", 20),
    ("InCommit", 20),
    ("AfterCommit", 20),
    ("InRenewal", 2),
];

/// With another number in `SEEDS`, as many as there is time for.
fn seeds() -> u64 {
    std::env::var("SEEDS").map_or(25, |text| text.parse().unwrap())
}

/// The worker with encryption and its failpoints, built beside the one under test at the first call.
fn failpoints() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        let name = "odoo-matrix-worker-failpoints";
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let build = ["build", "--features", "failpoints,encryption", "--locked", "--bin", name, "--target-dir"];
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built =
            Command::new(cargo).args(build).arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(built.status.success(), "{name} does not build:\n{}", String::from_utf8_lossy(&built.stderr));
        // Other tests build it without encryption.
        let ours = target.join("debug").join(format!("{name}-encryption"));
        std::fs::copy(target.join("debug").join(name), &ours).unwrap();
        ours.into_os_string().into_string().unwrap()
    })
}

/// Rooms in which an office writes, and who reads them.
struct Scene {
    office: Office,
    anna: User,
    reader: Reader,
    rooms: Vec<String>,
    /// What must be in each of the rooms.
    wanted: Vec<String>,
    random: Rng,
}

impl Scene {
    async fn open(postgres: &Postgres, seed: u64) -> Self {
        let office = Office::on(World::on(postgres, failpoints()).await).await;
        let anna = office.person("anna").await;
        let reader = Reader::new(&office.synapse, &anna).await;
        let random = Rng::with_seed(seed);
        let mut rooms = Vec::new();
        for _ in 0..ROOMS {
            rooms.push(office.encrypted_room(&[&anna]).await);
        }
        Self { office, anna, reader, rooms, wanted: Vec::new(), random }
    }

    fn worker(&self, name: &str) -> Process {
        self.office.worker_with(name, &PATIENT)
    }

    /// `rounds` more messages for each room.
    async fn more(&mut self, rounds: usize) {
        let rooms: Vec<_> = self.rooms.iter().map(String::as_str).collect();
        for _ in 0..rounds {
            let body = format!("message {}", self.wanted.len() + 1);
            self.office.world.enqueue_many(&rooms, &body, 1).await;
            self.wanted.push(body);
        }
    }

    /// Waits until some of what waits has been sent.
    async fn some_are_sent(&mut self) {
        let count = "SELECT count(*) FROM matrix_outbox";
        let waiting: i64 = self.office.world.client.query_one(count, &[]).await.unwrap().get(0);
        let left = self.random.i64(waiting / 4..=waiting * 3 / 4);
        self.until(&format!("SELECT count(*) <= {left} FROM matrix_outbox")).await;
    }

    async fn until(&self, sql: &str) {
        self.office.world.until_within(sql, Duration::from_secs(600)).await;
    }

    async fn until_empty(&self) {
        self.until("SELECT NOT EXISTS (SELECT FROM matrix_outbox)").await;
    }

    /// Nothing is lost, doubled, out of order or unreadable, and no position in a key stream was used for two texts. Returns how many messages
    /// there were, and with how many keys.
    async fn judge(&mut self, what: &str) -> (usize, usize) {
        self.until_empty().await;
        let wanted: Vec<Result<String, String>> = self.wanted.iter().map(|body| Ok(body.clone())).collect();
        let mut keys = 0;
        for room in &self.rooms {
            assert!(
                self.reader.read(room, STRICT).await == wanted,
                "{what}: {:?}",
                self.reader.read(room, STRICT).await
            );
            keys += assert_no_index_twice(&self.anna, room).await;
        }
        let odd = "SELECT count(*) FROM (
            SELECT FROM matrix_log WHERE is_final GROUP BY outbox_id HAVING count(*) <> 1 OR bool_or(status <> 'ok')
        ) AS message";
        let odd: i64 = self.office.world.client.query_one(odd, &[]).await.unwrap().get(0);
        assert_eq!(odd, 0, "{what}: each message has one final row, and it says that it was sent");
        (self.wanted.len() * self.rooms.len(), keys)
    }

    /// A worker that is stopped at `point`, which it has reached for the `times`-th time.
    async fn until_reached(&mut self, point: &str, times: u32) -> Process {
        let folder = TempDir::new().unwrap();
        let reached = folder.path().join("reached");
        let variables = [("FAILPOINT", &*format!("{point}:{times}")), ("FAILPOINT_REACHED", reached.to_str().unwrap())];
        let victim =
            self.office.worker_with("victim", &[&PATIENT, &variables].map(|variables| &variables[..]).concat());
        let deadline = Instant::now() + Duration::from_secs(600);
        while !reached.exists() {
            assert!(Instant::now() < deadline, "{point} was not reached {times} times\n{}", victim.tail());
            let empty = "SELECT NOT EXISTS (SELECT FROM matrix_outbox)";
            if self.office.world.client.query_one(empty, &[]).await.unwrap().get(0) {
                self.more(2).await;
            }
            sleep(Duration::from_millis(5)).await;
        }
        victim
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes most of an hour: make soak"]
async fn a_kill_at_any_step_loses_nothing_doubles_nothing_and_everything_can_be_read() {
    let postgres = Postgres::cluster(Options::default()).await.unwrap();
    let mut scene = Scene::open(&postgres, 1).await;
    let seeds = seeds();
    let mut judged = (0, 0);
    for (point, at_most) in POINTS {
        for seed in 0..seeds {
            scene.random = Rng::with_seed(seed);
            let times = scene.random.u32(1..=at_most);
            scene.more(2).await;
            let victim = scene.until_reached(point, times).await;
            let is_taken_over = scene.random.bool();
            let other = is_taken_over.then(|| scene.worker("other"));
            scene.more(1).await;
            kill(&victim).await;
            let next = other.unwrap_or_else(|| scene.worker("victim"));
            scene.until_empty().await;
            next.stop(Signal::TERM).await.unwrap();
        }
        judged = scene.judge(&format!("{point}, {seeds} seeds")).await;
    }
    let (messages, keys) = judged;
    report::record(
        "encrypted rooms: kill -9 at each of 9 points",
        &format!(
            "real Synapse, {ROOMS} encrypted rooms at once, {seeds} seeds each; another worker or the next process goes on; 0 lost, doubled, out of \
             order or unreadable for a strict client, no position of a key used twice"
        ),
        &format!("{} kills, {messages} messages with {keys} keys", seeds * POINTS.len() as u64),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_worker_that_was_frozen_until_another_one_had_taken_over_does_no_harm() {
    let postgres = Postgres::cluster(Options::default()).await.unwrap();
    let mut scene = Scene::open(&postgres, 2).await;
    let zombies = seeds().min(20);
    for number in 0..zombies {
        let zombie = scene.worker("zombie");
        scene.more(4).await;
        scene.some_are_sent().await;
        zombie.signal(Signal::STOP).unwrap();
        let other = scene.worker("other");
        // Its session would keep rows locked, if it was frozen while it wrote.
        scene.more(2).await;
        sleep(LEASE.mul_f64(0.8 + 0.8 * scene.random.f64())).await;
        scene.some_are_sent().await;
        zombie.signal(Signal::CONT).unwrap();
        scene.more(1).await;
        scene.until_empty().await;
        for worker in [zombie, other] {
            worker.stop(Signal::TERM).await.unwrap();
        }
        scene.judge(&format!("zombie {number}")).await;
    }
    let (messages, keys) = scene.judge("zombies").await;
    report::record(
        "encrypted rooms: SIGSTOP zombies",
        &format!(
            "real Synapse, {ROOMS} encrypted rooms at once, {zombies} workers frozen for 0.8 to 1.6 leases while another one takes over under load; \
             the same pass line"
        ),
        &format!("{messages} messages with {keys} keys"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn restarts_of_the_database_and_of_the_homeserver_do_no_harm() {
    let postgres = Postgres::cluster(Options { durable: true, ..Options::default() }).await.unwrap();
    let mut scene = Scene::open(&postgres, 3).await;
    let restarts = seeds().min(20);
    let workers = [scene.worker("w1"), scene.worker("w2")];
    for number in 0..restarts {
        scene.more(4).await;
        scene.some_are_sent().await;
        match number % 4 {
            0 => postgres.restart(Shutdown::Fast).await.unwrap(),
            1 => scene.office.synapse.restart(Signal::KILL).await.unwrap(),
            2 => postgres.restart(Shutdown::Immediate).await.unwrap(),
            _ => scene.office.synapse.restart(Signal::TERM).await.unwrap(),
        }
        scene.office.world.client = scene.office.world.database.connect().await.unwrap();
        scene.more(1).await;
        scene.until_empty().await;
        for worker in &workers {
            assert_eq!(worker.exit_status().unwrap(), None, "{}", worker.tail());
        }
    }
    let (messages, keys) = scene.judge("restarts").await;
    report::record(
        "encrypted rooms: restarts of PostgreSQL and Synapse",
        &format!(
            "{ROOMS} encrypted rooms at once, two workers, {restarts} restarts under load: PostgreSQL fast and immediate, Synapse by TERM and by \
             KILL; the same pass line"
        ),
        &format!("{messages} messages with {keys} keys"),
    );
}
