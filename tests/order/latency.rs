//! How long a message takes from its COMMIT to the homeserver, and how fast a backlog drains. The figures depend on the
//! machine, so they are only recorded; only the order of the messages is asserted.

use std::time::{Duration, Instant};

use stack::{
    report::{self, scale},
    schedule,
    world::World,
};

use crate::BINARY;

const EVENTS: usize = 50;

#[tokio::test]
async fn a_single_event_takes_milliseconds() {
    let _turn = schedule::alone().await;
    let world = World::new(BINARY).await;
    let _worker = world.worker_with("w1", &[("RUST_LOG", "warn")]);
    let mut ids = vec![world.enqueue("!case:double.test", "warm").await];
    world.homeserver.until_events(1).await;

    let mut took = Vec::new();
    for number in 0..EVENTS {
        // One event each 50 ms, as when somebody works.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let arrived = world.homeserver.event_count();
        ids.push(world.enqueue(&format!("!room{number}:double.test"), "message").await);
        let committed = Instant::now();
        world.homeserver.until_events(arrived + 1).await;
        took.push(world.homeserver.events()[arrived].at.saturating_duration_since(committed));
    }

    world.assert_settled(&ids).await;
    took.sort_unstable();
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    report::record(
        "commit to request at the homeserver",
        &format!(
            "no pass line, the figure depends on the machine: {EVENTS} single events on loopback, each in a room of its own, with `run`"
        ),
        &format!("median {:.1} ms, p95 {:.1} ms", ms(took[EVENTS / 2]), ms(took[EVENTS * 95 / 100])),
    );
}

/// The job of the peers' benchmark: a backlog over 200 rooms. `cargo test --release` gives the figures to compare.
#[tokio::test]
async fn a_backlog_over_many_rooms_drains() {
    let _turn = schedule::alone().await;
    let rooms: Vec<_> = (0..200).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let rounds = scale(50, 250);
    let mut figures = Vec::new();
    for delay in [0, 20] {
        let world = World::new(BINARY).await;
        world.homeserver.delay(Duration::from_millis(delay));
        let ids = world.enqueue_many(&rooms, "message", rounds).await;
        let _worker = world.worker_with("w1", &[("RUST_LOG", "warn")]);
        world.homeserver.until_events(1).await;
        let began = Instant::now();

        world.until_empty().await;

        let per_second = ids.len() as f64 / began.elapsed().as_secs_f64();
        world.assert_settled(&ids).await;
        world.assert_in_order(&rooms, "message", rounds);
        figures.push(format!("{per_second:.0} messages/s at {delay} ms"));
    }
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    report::record(
        "backlog over 200 rooms",
        &format!(
            "every room in order; no pass line for the rate: {} messages, 64 in flight, a {build} build of worker and double",
            200 * rounds
        ),
        &figures.join(", "),
    );
}
