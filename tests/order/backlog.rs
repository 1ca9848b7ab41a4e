//! A big backlog, half of it in one room: what a claim costs, how fast it drains, and whether every room has its turn. Then the
//! same while a session holds a snapshot, when nothing that is deleted can be cleared away, and after the next vacuum.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use odoo_matrix_worker::store::PLANNER;
use serde_json::Value;
use stack::{
    process::{Process, Signal},
    report::{self, scale},
    schedule,
    world::World,
};

use tokio_postgres::Client;

use crate::BINARY;

const HOT: &str = "!hot:double.test";

/// What a claim may take, in ms. Dead rows that nobody may clear away have to be stepped over: only the rate counts then.
const QUICK: f64 = 100.0;
const ANY: f64 = f64::INFINITY;

/// A claim takes at most so many messages of a lane.
const TURN: usize = 32;

struct Phase {
    per_second: f64,
    /// What the server needs for one walk over the lanes, the claim of those found and the read of their messages.
    claims: Vec<f64>,
}

impl Phase {
    fn is_well(&self, slowest_claim: f64) -> bool {
        self.percentile(99) <= slowest_claim && self.per_second >= 1_000.0
    }

    fn percentile(&self, percent: usize) -> f64 {
        self.claims[(self.claims.len() * percent).div_ceil(100) - 1]
    }
}

#[tokio::test]
async fn a_big_backlog_costs_a_claim_nothing_and_starves_no_room() {
    let _turn = schedule::alone().await;
    let (rows, rooms) = (scale(200_000, 1_000_000), scale(300, 1_000));
    let window = scale(Duration::from_secs(5), Duration::from_secs(20));
    let world = World::new(BINARY).await;
    fill(&world, rows, rooms).await;
    let probe = Probe::new(&world, rooms).await;
    let worker = world.worker_with("w1", &[("RUST_LOG", "warn")]);
    world.homeserver.until_events(1).await;

    let free = measure(&world, &probe, window, QUICK).await;
    let holder = world.database.connect().await.unwrap();
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM matrix_backend").await.unwrap();
    let held = measure(&world, &probe, window, ANY).await;
    holder.batch_execute("COMMIT").await.unwrap();
    world.client.batch_execute("VACUUM matrix_outbox").await.unwrap();
    let vacuumed = measure(&world, &probe, window, QUICK).await;

    stop(&worker).await;
    check(&world, rows).await;
    let phases = [("free", &free, QUICK), ("with a held snapshot", &held, ANY), ("after the vacuum", &vacuumed, QUICK)];
    let figures = phases.map(|(name, phase, _)| {
        let (median, p99) = (phase.percentile(50), phase.percentile(99));
        format!("{name} {:.0} rows/s, claim median {median:.1} ms, p99 {p99:.1} ms", phase.per_second)
    });
    let figures = figures.join("; ");
    for (name, phase, slowest_claim) in phases {
        assert!(phase.is_well(slowest_claim), "{name}: {figures}");
    }
    report::record(
        "big backlog",
        &format!(
            "{rows} rows, half of them in one room, {rooms} others; ≥ 1,000 rows/s, no room starves; claim p99 ≤ {QUICK} ms, but while a \
            snapshot is held"
        ),
        &figures,
    );
}

async fn fill(world: &World, rows: i32, rooms: i32) {
    world.client.batch_execute("ALTER TABLE matrix_outbox DISABLE TRIGGER USER").await.unwrap();
    let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
        SELECT $1, 'manual', CASE WHEN n % 2 = 0 THEN $2 ELSE '!room' || n / 2 % $3::integer || ':double.test' END,
            jsonb_build_object('msgtype', 'm.text', 'body', n::text), gen_random_uuid()::text
        FROM generate_series(1, $4::integer) AS n";
    world.client.execute(sql, &[&world.backend, &HOT, &rooms, &rows]).await.unwrap();
    world.client.batch_execute("ALTER TABLE matrix_outbox ENABLE TRIGGER USER").await.unwrap();
}

/// What happens within a time; again when it was not well, twice at most: the machine may have been busy with something else.
async fn measure(world: &World, probe: &Probe, window: Duration, slowest_claim: f64) -> Phase {
    let mut phase = watch(world, probe, window).await;
    for _ in 0..2 {
        if !phase.is_well(slowest_claim) {
            phase = watch(world, probe, window).await;
        }
    }
    phase
}

async fn watch(world: &World, probe: &Probe, window: Duration) -> Phase {
    let (sent, began) = (world.homeserver.event_count(), Instant::now());
    let mut claims = Vec::new();
    while began.elapsed() < window {
        claims.push(probe.claim().await);
        // So few that they take no turns from others.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let per_second = (world.homeserver.event_count() - sent) as f64 / began.elapsed().as_secs_f64();
    claims.sort_unstable_by(f64::total_cmp);
    Phase { per_second, claims }
}

/// Claims as the worker does, and takes it back. The server's own times: the client's would be those of a busy test.
struct Probe {
    client: Client,
    rooms: i32,
}

impl Probe {
    async fn new(world: &World, rooms: i32) -> Self {
        let client = world.database.connect().await.unwrap();
        for (name, value) in PLANNER {
            client.batch_execute(&format!("SET {name} = {value}")).await.unwrap();
        }
        let statements = [
            ("ring", include_str!("../../sql/ring.sql")),
            ("claim", include_str!("../../sql/claim.sql")),
            ("messages", include_str!("../../sql/messages.sql")),
        ];
        for (name, sql) in statements {
            client.batch_execute(&format!("PREPARE {name} AS {sql}")).await.unwrap();
        }
        Self { client, rooms }
    }

    /// In ms, for 64 lanes, the hot one among them.
    async fn claim(&self) -> f64 {
        let lane = || format!("'1/!room{}:double.test'", fastrand::i32(0..self.rooms));
        let lanes: Vec<_> = std::iter::repeat_with(lane).take(63).chain([format!("'1/{HOT}'")]).collect();
        let lanes = lanes.join(",");
        self.client.batch_execute("BEGIN").await.unwrap();
        let mut all = 0.0;
        for call in [
            format!("ring (ARRAY[1], ARRAY[{}], 64, 2000, 'probe/1', ARRAY[0])", lane()),
            format!("claim ('probe/1', ARRAY[{lanes}], 64, 3000, 1, false)"),
            format!("messages ('probe/1', ARRAY[{lanes}], {TURN}, 82800000, 131072)"),
        ] {
            let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE {call}");
            let plan: Value = self.client.query_one(&explain, &[]).await.unwrap().get(0);
            all += plan[0]["Planning Time"].as_f64().unwrap() + plan[0]["Execution Time"].as_f64().unwrap();
        }
        self.client.batch_execute("ROLLBACK").await.unwrap();
        all
    }
}

async fn stop(worker: &Process) {
    let status = worker.stop(Signal::TERM).await.unwrap();
    assert!(status.success(), "{status}");
}

/// Nothing lost, doubled or out of order of what went out, and every room had its turns.
async fn check(world: &World, rows: i32) {
    let sql = "SELECT (SELECT count(*) FROM matrix_outbox), (SELECT count(*) FROM matrix_log WHERE status = 'ok'),
        (SELECT count(DISTINCT outbox_id) FROM matrix_log), (SELECT count(*) FROM matrix_lane WHERE lease_until IS NOT NULL)";
    let row = world.client.query_one(sql, &[]).await.unwrap();
    let (left, logged, distinct, leased): (i64, i64, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
    let mut sent: HashMap<String, Vec<i32>> = HashMap::new();
    for event in world.homeserver.events() {
        sent.entry(event.room.clone()).or_default().push(event.body().parse().unwrap());
    }
    let events: i64 = sent.values().map(|bodies| bodies.len() as i64).sum();
    assert_eq!((logged, distinct, left, leased), (events, events, i64::from(rows) - events, 0));
    for (room, bodies) in &sent {
        assert!(bodies.is_sorted_by(|a, b| a < b), "{room} is out of order");
    }
    let count = |room: &str| sent.get(room).map_or(0, Vec::len);
    // A room that has nothing left needs no more turns.
    let rooms = world.client.query("SELECT DISTINCT room_id FROM matrix_outbox", &[]).await.unwrap();
    let mut turns: Vec<_> = rooms.iter().map(|row| count(&row.get::<_, String>(0))).collect();
    turns.sort_unstable();
    let (least, most) = (turns[0], turns[turns.len() - 1]);
    assert!(least > 0, "a room had no turn");
    // A lane that the probe has locked at its turn waits for the next one; the hot room is locked by each.
    assert!(most - least <= 6 * TURN, "one room had {least} of its messages sent, another {most}");
}
