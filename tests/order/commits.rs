//! Transactions of producers: open, rolled back, committed late.

use std::time::{Duration, Instant};

use stack::{
    report::{self, scale},
    schedule,
    world::World,
};
use tokio_postgres::Client;

use crate::BINARY;

const INSERT: &str = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
    VALUES ($1, 'manual', $2, jsonb_build_object('msgtype', 'm.text', 'body', $3::text), gen_random_uuid()::text) RETURNING id";

/// Two rooms: one where the open transaction has written too, and one of its own.
const ROOMS: [&str; 2] = ["!shared:double.test", "!own:double.test"];

async fn insert(client: &Client, world: &World, room: &str, body: &str) -> i64 {
    client.query_one(INSERT, &[&world.backend, &room, &body]).await.unwrap().get(0)
}

/// Odoo's transactions are as long as what the user waits for.
async fn begin(client: &Client) {
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_stays_open_delays_no_other() {
    let _turn = schedule::quiet().await;
    let open_for = scale(Duration::from_secs(5), Duration::from_secs(60));
    let mut figures = Vec::new();
    for ends_with in ["ROLLBACK", "COMMIT"] {
        let world = World::new(BINARY).await;
        let _worker = world.worker("w1");
        let warm = world.enqueue(ROOMS[1], "warm").await;
        world.homeserver.until_events(1).await;
        let other = world.database.connect().await.unwrap();
        begin(&other).await;
        let open = insert(&other, &world, ROOMS[0], "open").await;

        let mut ids = vec![warm];
        let mut slowest = Duration::ZERO;
        let until = Instant::now() + open_for;
        while Instant::now() < until {
            for room in ROOMS {
                let arrived = world.homeserver.events().len();
                ids.push(world.enqueue(room, &format!("message {}", ids.len())).await);
                let committed = Instant::now();
                world.homeserver.until_events(arrived + 1).await;
                slowest = slowest.max(world.homeserver.events()[arrived].at.saturating_duration_since(committed));
                // A producer's pace, so that most commits find an idle worker.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..200))).await;
            }
        }
        other.batch_execute(ends_with).await.unwrap();
        if ends_with == "COMMIT" {
            ids.push(open);
        }

        world.assert_settled(&ids).await;
        let bodies = world.homeserver.bodies(ROOMS[0]);
        assert_eq!(bodies.contains(&"open".to_owned()), ends_with == "COMMIT", "{bodies:?}");
        assert!(slowest <= Duration::from_secs(1), "{slowest:?} with {ends_with}");
        figures.push(format!("{} commits, the slowest after {} ms", ids.len(), slowest.as_millis()));
    }
    report::record(
        "a transaction that inserted and stays open, or rolls back",
        &format!("open for {} s; other commits arrive ≤ 1 s", open_for.as_secs()),
        &figures.join("; "),
    );
}

/// The first takes its id before the second and commits after it; the third begins when both are done.
#[tokio::test]
async fn a_late_commit_comes_before_what_began_after_it() {
    let _turn = schedule::beside().await;
    const SEEDS: u64 = 200;
    let world = World::new(BINARY).await;
    let _workers = [world.worker("w1"), world.worker("w2")];
    world.until("SELECT count(*) = 2 FROM matrix_worker").await;
    let (late, early) = (world.database.connect().await.unwrap(), world.database.connect().await.unwrap());

    let mut ids = Vec::new();
    let mut overtaken = 0;
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut pause = async || tokio::time::sleep(Duration::from_micros(random.u64(0..8_000))).await;
        let room = format!("!room{seed}:double.test");
        begin(&late).await;
        ids.push(insert(&late, &world, &room, "10").await);
        pause().await;
        begin(&early).await;
        ids.push(insert(&early, &world, &room, "11").await);
        pause().await;
        early.batch_execute("COMMIT").await.unwrap();
        pause().await;
        late.batch_execute("COMMIT").await.unwrap();
        pause().await;
        ids.push(world.enqueue(&room, "12").await);
    }

    world.assert_settled(&ids).await;
    for seed in 0..SEEDS {
        let bodies = world.homeserver.bodies(&format!("!room{seed}:double.test"));
        let place = |body: &str| bodies.iter().position(|found| found == body).unwrap();
        assert!(place("10") < place("12") && place("11") < place("12"), "seed {seed}: {bodies:?}");
        overtaken += usize::from(place("11") < place("10"));
    }
    assert!(overtaken > 0, "in no seed was the open transaction overtaken: the test shows nothing");
    report::record(
        "late commit",
        &format!("id 10 open, 11 commits, 10 commits, 12; 10 before 12, {SEEDS} seeds"),
        &format!("{SEEDS} of {SEEDS} ({overtaken} with 11 sent before 10)"),
    );
}
