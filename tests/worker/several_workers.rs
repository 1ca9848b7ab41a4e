//! Several workers on one database.

use std::time::{Duration, Instant};

use odoo_matrix_worker::store::locks;
use stack::{
    process::Signal,
    world::{World, kill},
};
use tokio::time::sleep;

use crate::BINARY;

#[tokio::test]
async fn three_workers_keep_every_room_in_order_and_send_nothing_twice() {
    let world = World::new(BINARY).await;
    let rooms: Vec<_> = (0..20).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let _workers = [world.worker("w1"), world.worker("w2"), world.worker("w3")];

    let mut ids = Vec::new();
    for batch in 0..10 {
        ids.extend(world.enqueue_many(&rooms, &format!("batch {batch} message"), 10).await);
    }

    world.assert_settled(&ids).await;
    for room in rooms {
        let wanted: Vec<_> =
            (0..10).flat_map(|batch| (1..=10).map(move |round| format!("batch {batch} message {round}"))).collect();
        assert_eq!(world.homeserver.bodies(room), wanted, "{room}");
    }
}

#[tokio::test]
async fn the_next_process_of_a_name_takes_over_at_once() {
    let world = World::new(BINARY).await;
    let slow = [("WORKER_LEASE_SECONDS", "60")];
    world.homeserver.hold_answers();
    let worker = world.worker_with("w1", &slow);
    let id = world.enqueue("!case:double.test", "once").await;
    world.homeserver.until_events(1).await;

    kill(&worker).await;
    world.homeserver.release();
    let _successor = world.worker_with("w1", &slow);

    world.until_within("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", Duration::from_secs(2)).await;
    world.assert_settled(&[id]).await;
}

/// A copied worker.env, a container that was scaled to two: a mistake, which must cause nothing but a warning.
#[tokio::test]
async fn two_running_workers_of_one_name_are_safe_and_give_a_warning() {
    let world = World::new(BINARY).await;
    world.homeserver.delay(Duration::from_millis(5));
    let rooms: Vec<_> = (0..20).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let first = world.worker("same");
    world.until("SELECT EXISTS (SELECT FROM matrix_worker)").await;
    let second = world.namesake("same", "second");
    let twice = "SELECT count(*) = 2 FROM matrix_worker WHERE split_part(name, '/', 1) = 'same'";
    let mut ids = Vec::new();
    let mut batches = 0;
    let mut more = async |ids: &mut Vec<i64>| {
        ids.extend(world.enqueue_many(&rooms, &format!("batch {batches} message"), 10).await);
        batches += 1;
        batches
    };

    let deadline = Instant::now() + Duration::from_secs(60);
    while !world.client.query_one(twice, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "{}", world.worker_logs());
        more(&mut ids).await;
        sleep(Duration::from_millis(200)).await;
    }
    let status = String::from_utf8(world.command(&["status"]).await.stdout).unwrap();
    // The holder of the name may lose its session at any time, and live on.
    let end_listener = format!(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.classid = {}",
        locks::WORKER_NAME
    );
    for _ in 0..5 {
        world.client.query(&end_listener, &[]).await.unwrap();
        more(&mut ids).await;
        sleep(Duration::from_millis(200)).await;
    }
    let batches = more(&mut ids).await;

    world.assert_settled(&ids).await;
    for room in rooms {
        let wanted: Vec<_> = (0..batches)
            .flat_map(|batch| (1..=10).map(move |round| format!("batch {batch} message {round}")))
            .collect();
        assert_eq!(world.homeserver.bodies(room), wanted, "{room}");
    }
    let log = world.worker_logs();
    assert!(log.contains("Another running worker has this name"), "{log}");
    assert!(!log.contains("Took over the lanes"), "{log}");
    let (one, other) = (first.id(), second.id());
    assert!(
        status.contains("2 running workers have the name same") && status.contains("its own WORKER_NAME"),
        "{status}"
    );
    assert!(
        status.contains(&format!("process {one} on")) && status.contains(&format!("process {other} on")),
        "{status}"
    );

    second.stop(Signal::TERM).await.unwrap();
    first.stop(Signal::TERM).await.unwrap();
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_worker)").await;
}
