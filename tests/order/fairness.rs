//! Several backends share one worker.

use std::time::Instant;

use stack::{
    homeserver::{Homeserver, TOKEN},
    report, schedule,
    world::World,
};

use crate::BINARY;

const PLACES: usize = 16;

/// A homeserver that takes connections and says nothing keeps each of its calls for the whole time limit, which is longer here
/// than the test waits for anything.
#[tokio::test]
async fn a_silent_homeserver_does_not_hold_up_the_rooms_of_another() {
    let _turn = schedule::alone().await;
    let mut world = World::new(BINARY).await;
    let silent = Homeserver::start().await.unwrap();
    silent.hold_answers();
    let well = world.backend;
    world.backend = world.add_backend(&silent.url(), &format!("plain:{TOKEN}")).await;
    let rooms: Vec<_> = (0..60).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let stuck = world.enqueue_many(&rooms, "stuck", 1).await;
    let places = PLACES.to_string();
    let patient =
        [("WORKER_CONCURRENCY", places.as_str()), ("HTTP_TIMEOUT_SECONDS", "120"), ("WORKER_LEASE_SECONDS", "300")];
    let _worker = world.worker_with("w1", &patient);
    silent.until("calls that are not answered", |double| double.in_flight() >= PLACES / 2).await;

    world.backend = well;
    let began = Instant::now();
    let ids = world.enqueue_many(&rooms, "message", 5).await;
    world.homeserver.until_events(ids.len()).await;
    let took = began.elapsed();

    assert!(silent.in_flight() >= PLACES / 2, "the silent homeserver's calls have ended: the test shows nothing");
    world.assert_in_order(&rooms, "message", 5);
    silent.release();
    world.until_empty().await;
    assert_eq!(silent.event_count(), stuck.len());
    report::record(
        "one homeserver of two is silent",
        &format!(
            "{PLACES} places; the other's {} messages to {} rooms do not wait for its time limit of 120 s",
            ids.len(),
            rooms.len()
        ),
        &format!("all after {:.1} s", took.as_secs_f64()),
    );
}
