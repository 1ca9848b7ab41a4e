//! A homeserver's limit is used up and hardly ever met: one pace for all workers, found from few refusals.

use stack::{report, schedule, world::World};

use crate::BINARY;

const ROOMS: [&str; 4] = ["!a:double.test", "!b:double.test", "!c:double.test", "!d:double.test"];
const EACH: i32 = 75;
const COUNT: f64 = (ROOMS.len() as i32 * EACH) as f64;
const BURST: u32 = 20;

/// Of what the account may send, at least.
const LEAST_USED: f64 = 0.95;

/// Of all requests, at most.
const MOST_REFUSED: f64 = 0.05;

/// Sends all messages while the account may send so many per second, and another number from the middle on.
async fn paced(name: &str, workers: usize, first: f64, then: f64) {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    world.homeserver.limit(first, BURST);
    let ids = world.enqueue_many(&ROOMS, "message", EACH).await;
    let patient = [("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")];

    let running: Vec<_> = (0..workers).map(|number| world.worker_with(&format!("w{number}"), &patient)).collect();
    let half = ids.len() / 2;
    world.homeserver.until_events(half).await;
    // The bucket stays as full as it is.
    world.homeserver.change_limit(then);
    world.homeserver.until_events(ids.len()).await;
    world.assert_settled(&ids).await;
    drop(running);

    let events = world.homeserver.events();
    let took = events[events.len() - 1].at.duration_since(events[0].at).as_secs_f64();
    let (early, late) = (half as f64 - f64::from(BURST), COUNT - half as f64);
    let used = (early / first + late / then) / took;
    let requests = world.homeserver.requests().iter().filter(|request| request.is_send()).count() as f64;
    let refused = (requests - COUNT) / requests;
    let figure = format!("{:.0} % of the limit used, {:.1} % of the requests refused", used * 100.0, refused * 100.0);
    assert!(used >= LEAST_USED && refused <= MOST_REFUSED, "{figure}");
    report::record(
        name,
        &format!("{COUNT} messages, workers: {workers}, burst {BURST}, {first} then {then} per second; ≥ 95 %, ≤ 5 %"),
        &figure,
    );
    world.assert_in_order(&ROOMS, "message", EACH);
}

#[tokio::test]
async fn one_worker_uses_a_limit_and_seldom_meets_it() {
    paced("pace of one worker", 1, 12.0, 12.0).await;
}

#[tokio::test]
async fn three_workers_keep_one_pace() {
    paced("pace of three workers", 3, 12.0, 12.0).await;
}

#[tokio::test]
async fn a_limit_that_is_lowered_midway_is_met_a_few_times_only() {
    paced("a limit lowered midway", 1, 14.0, 9.0).await;
}
