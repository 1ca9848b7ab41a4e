//! kill -9 at each point between two steps.

use std::time::{Duration, Instant};

use stack::{
    process::Process,
    report,
    world::{World, kill},
};
use tempfile::TempDir;

use crate::BINARY;
use crate::common::{LEASE, Producer, alone, cluster, failpoints, longest, side_by_side};

/// The places, and how often each is surely reached.
const POINTS: [(&str, u32); 8] = [
    ("AfterClaim", 8),
    ("BeforePut", 16),
    ("PutSent", 16),
    ("AnswerRead", 16),
    ("BeforeFlush", 8),
    ("InCommit", 8),
    ("AfterCommit", 8),
    ("InRenewal", 2),
];

/// What is installed cannot be stopped from outside: only the program that is built for these tests can.
#[test]
fn the_real_program_has_no_failpoints() {
    let has = |program: &str| {
        let bytes = std::fs::read(program).unwrap();
        bytes.windows(17).any(|window| window == b"FAILPOINT_REACHED")
    };

    assert!(has(failpoints()));
    assert!(!has(BINARY));
}

#[derive(Clone, Copy, Debug)]
struct Case {
    point: &'static str,
    at_most: u32,
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Successor {
    /// Another worker, that runs already.
    Other,
    /// The next process of the same name.
    Restarted,
}

impl Successor {
    /// How long the lanes of a dead worker may stay its own.
    fn limit(self) -> Duration {
        match self {
            Self::Other => LEASE + Duration::from_secs(1),
            Self::Restarted => Duration::from_secs(2),
        }
    }
}

/// Twenty-five seeds of each point with SOAK=1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_point_loses_nothing_and_doubles_nothing() {
    let _alone = alone().await;
    failpoints();
    let seeds = report::scale(8, 25);
    let cases =
        POINTS.iter().flat_map(|(point, at_most)| (0..seeds).map(|seed| Case { point, at_most: *at_most, seed }));

    let taken_over = side_by_side(8, cases.collect(), play).await;

    let by = |wanted| longest(taken_over.iter().filter(|(by, _)| *by == wanted).map(|(_, time)| *time));
    let (other, restarted) = (by(Successor::Other), by(Successor::Restarted));
    report::record_form(
        "kill -9 at each of 8 points",
        &format!(
            "{seeds} seeds each, lease 3 s, HTTP timeout 0.5 s; 0 lost, doubled, out of order; take-over ≤ 4 s by another \
             worker, ≤ 2 s by a restarted one"
        ),
        &format!(
            "{} kills; take-over at most {:.2} s by another, {:.2} s by a restarted worker",
            taken_over.len(),
            other.as_secs_f64(),
            restarted.as_secs_f64()
        ),
    );
}

/// Returns how long the lanes of the killed worker stayed its own.
async fn play(case: Case) -> (Successor, Duration) {
    let mut random = fastrand::Rng::with_seed(case.seed);
    let successor = if random.bool() { Successor::Other } else { Successor::Restarted };
    let times = random.u32(1..=case.at_most);
    let world = World::on(cluster().await, failpoints()).await;
    // A lane is renewed when it is held for a third of a lease.
    let slowest = if case.point == "InRenewal" { 300 } else { 20 };
    world.homeserver.delay(Duration::from_millis(random.u64(slowest / 2..=slowest)));
    let mut producer = Producer::new(4);
    let victim = until_reached(&world, &mut producer, case.point, times).await;
    let other = (successor == Successor::Other).then(|| world.worker("other"));
    if other.is_some() {
        world.until("SELECT EXISTS (SELECT FROM matrix_worker WHERE name = 'other')").await;
    }
    producer.more(&world, 1).await;
    let held = "SELECT array_agg(DISTINCT owner) FROM matrix_lane WHERE starts_with(owner, 'victim/')";
    let owners: Option<Vec<String>> = world.client.query_one(held, &[]).await.unwrap().get(0);

    let killed = Instant::now();
    kill(&victim).await;
    let restarted = (successor == Successor::Restarted).then(|| world.worker("victim"));
    // A lane without messages does not matter: its lease just ends.
    let free = format!(
        "SELECT NOT EXISTS (SELECT FROM matrix_lane AS l WHERE l.lease_until IS NOT NULL AND l.owner IN ('{}')
            AND EXISTS (SELECT FROM matrix_outbox AS o WHERE o.lane = l.lane))",
        owners.unwrap_or_default().join("', '")
    );
    world.until(&free).await;
    let taken_over = killed.elapsed();

    let limit = successor.limit();
    assert!(taken_over <= limit, "{successor:?} took over after {taken_over:?}\n{}", world.worker_logs());

    producer.more(&world, 1).await;
    producer.assert_delivered(&world).await;
    drop((other, restarted));
    (successor, taken_over)
}

/// A worker stopped at `point` for the `times`-th time, with messages for as long as it takes to get there.
async fn until_reached(world: &World, producer: &mut Producer, point: &str, times: u32) -> Process {
    let folder = TempDir::new().unwrap();
    let reached = folder.path().join("reached");
    producer.more(world, 4).await;
    let variables = [("FAILPOINT", &*format!("{point}:{times}")), ("FAILPOINT_REACHED", reached.to_str().unwrap())];
    let victim = world.worker_with("victim", &variables);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached.exists() {
        assert!(Instant::now() < deadline, "{point} was not reached {times} times\n{}", world.worker_logs());
        let empty = "SELECT NOT EXISTS (SELECT FROM matrix_outbox)";
        if world.client.query_one(empty, &[]).await.unwrap().get(0) {
            producer.more(world, 4).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    victim
}
