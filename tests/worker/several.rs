//! Several workers on one database.

use stack::world::{World, kill};

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

    world.until_within("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", std::time::Duration::from_secs(2)).await;
    world.assert_settled(&[id]).await;
}
