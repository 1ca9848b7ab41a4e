//! SIGTERM, once and twice, with the hands full.

use std::time::{Duration, Instant};

use stack::{
    homeserver::{Fault, Homeserver},
    process::{Process, Signal},
    report,
    world::World,
};

use crate::{
    BINARY,
    common::{Producer, alone, beside},
};

const IN_FLIGHT: usize = 64;

/// Long enough that what a stop leaves behind would be missed: a successor would wait for the lease.
const PATIENT: [(&str, &str); 3] =
    [("WORKER_LEASE_SECONDS", "60"), ("HTTP_TIMEOUT_SECONDS", "20"), ("SHUTDOWN_GRACE_SECONDS", "10")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_or_gives_back_what_is_in_flight_within_its_grace() {
    let _alone = alone().await;

    let finished = finishes().await;
    let second = gives_back("10", 2).await;
    let out_of_grace = gives_back("2", 1).await;

    report::record(
        "SIGTERM with 64 PUTs in flight; second SIGTERM",
        "in flight finished or released, exit ≤ grace (10 s; 2 s where the homeserver stays silent)",
        &format!(
            "finished and ended {:.2} s after the last answer; second signal: ended after {:.2} s; silent homeserver: after {:.2} s",
            finished.as_secs_f64(),
            second.as_secs_f64(),
            out_of_grace.as_secs_f64()
        ),
    );
    assert!(finished < Duration::from_secs(10), "{finished:?}");
    assert!(second < Duration::from_secs(2), "{second:?}");
    assert!(out_of_grace <= Duration::from_secs(2), "{out_of_grace:?}");
}

async fn finishes() -> Duration {
    let (world, producer, worker) = busy("10").await;

    worker.signal(Signal::TERM).unwrap();
    until_logged(&world, "Stopping: finishing").await;
    world.homeserver.release();
    let released = Instant::now();
    let status = worker.wait(Duration::from_secs(30)).await.unwrap();

    let took = released.elapsed();
    assert!(status.success(), "{status}");
    assert_eq!(world.homeserver.requests().len(), IN_FLIGHT, "nothing was sent a second time, and nothing new");
    // The second message of each room is left to whoever comes next.
    let left = format!("SELECT count(*) = {IN_FLIGHT} FROM matrix_outbox");
    world.until_within(&left, Duration::from_secs(1)).await;
    let _next = world.worker_with("w2", &PATIENT);
    producer.assert_delivered(&world).await;
    took
}

/// The homeserver never answers. Returns how long the worker took to end after the last signal.
async fn gives_back(grace: &str, signals: usize) -> Duration {
    let (world, producer, worker) = busy(grace).await;

    worker.signal(Signal::TERM).unwrap();
    let mut signalled = Instant::now();
    if signals == 2 {
        until_logged(&world, "Stopping: finishing").await;
        signalled = Instant::now();
        worker.signal(Signal::TERM).unwrap();
    }
    let status = worker.wait(Duration::from_secs(30)).await.unwrap();
    let took = signalled.elapsed();

    assert!(status.success(), "{status}");
    let held = "SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)";
    assert!(world.client.query_one(held, &[]).await.unwrap().get::<_, bool>(0), "lanes were not given back");
    world.homeserver.release();
    let _next = world.worker_with("w2", &PATIENT);
    producer.assert_delivered(&world).await;
    took
}

/// A worker with 64 messages that the homeserver has taken and not answered, and as many behind them.
async fn busy(grace: &str) -> (World, Producer, Process) {
    let world = World::new(BINARY).await;
    world.homeserver.hold_answers();
    let mut producer = Producer::new(IN_FLIGHT);
    producer.more(&world, 2).await;
    let mut variables = PATIENT;
    variables[2].1 = grace;
    let worker = world.worker_with("w1", &variables);
    world.homeserver.until_events(IN_FLIGHT).await;
    (world, producer, worker)
}

async fn until_logged(world: &World, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !world.worker_logs().contains(text) {
        assert!(Instant::now() < deadline, "«{text}» is not in the log:\n{}", world.worker_logs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// It can no longer ask whether the homeserver answers for the account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_stopped_during_a_retry_does_not_stop_the_account() {
    let _turn = beside().await;
    let world = World::new(BINARY).await;
    world.homeserver.fail_sends(Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    let worker = world.worker_with("w1", &[("RETRY_DELAY_MS", "2000"), ("WORKER_LEASE_SECONDS", "10")]);
    let id = world.enqueue("!case:double.test", "message").await;
    let sends = |double: &Homeserver| double.requests().iter().filter(|request| request.is_send()).count();
    world.homeserver.until("the refusal", |double| sends(double) == 1 && double.in_flight() == 0).await;
    world.homeserver.hold_answers();
    world.homeserver.until("the retry", |double| sends(double) == 2).await;

    worker.signal(Signal::TERM).unwrap();
    until_logged(&world, "Stopping: finishing what is in flight").await;
    world.homeserver.release();
    worker.wait(Duration::from_secs(30)).await.unwrap();

    assert_ne!(world.state().await.as_deref(), Some("down"));
    let lane = world.client.query_one("SELECT head_id, attempts FROM matrix_lane", &[]).await.unwrap();
    assert_eq!((lane.get(0), lane.get(1)), (Some(id), 2));
    world.homeserver.heal();
    let _worker = world.worker("w2");
    world.assert_settled(&[id]).await;
}
