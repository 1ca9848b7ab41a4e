//! Messages for encrypted rooms that wait for the worker that has the keys, while another one walks past them.

use stack::{homeserver::TOKEN, world::World};

use crate::BINARY;

const ROOMS: i64 = 600;

/// A walk looks for more lanes because of those that it leaves to others, but only for more of the same backend.
#[tokio::test]
async fn what_waits_for_the_keys_of_one_account_makes_no_walk_over_another_ones_lanes_longer() {
    let mut world = World::new(BINARY).await;
    let rooms: Vec<_> = (0..ROOMS).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let held = "UPDATE matrix_backend SET encryption_mode = 'encrypt';
        INSERT INTO matrix_follower (backend_id, owner, epoch, lease_until)
            SELECT id, 'holder/1', 1, now() AT TIME ZONE 'UTC' + interval '1 h' FROM matrix_backend";
    world.client.batch_execute(held).await.unwrap();
    let sql = "INSERT INTO matrix_encrypted_room (backend_id, room_id) SELECT $1, unnest($2::text[])";
    world.client.execute(sql, &[&world.backend, &rooms]).await.unwrap();
    world.enqueue_many(&rooms, "secret", 1).await;
    let encrypts = world.backend;
    world.backend = world.add_backend(&world.homeserver.url(), &format!("plain:{TOKEN}")).await;
    world.enqueue_many(&rooms, "open", 1).await;
    // The places are taken as long as the test lasts, except those that are reserved for the first backend.
    world.homeserver.hold_answers();

    let _worker = world.worker_with("w1", &[("HTTP_TIMEOUT_SECONDS", "30"), ("WORKER_LEASE_SECONDS", "90")]);

    // A lane has a row as soon as a walk has looked at it.
    let looked_at = |backend| format!("(SELECT count(*) FROM matrix_lane WHERE starts_with(lane, '{backend}/'))");
    world.until(&format!("SELECT {} = {ROOMS}", looked_at(encrypts))).await;
    let sql = format!("SELECT {}", looked_at(world.backend));
    let others: i64 = world.client.query_one(&sql, &[]).await.unwrap().get(0);
    assert!((1..=100).contains(&others), "{others} lanes of the other backend were looked at for 64 places");
    assert!(world.homeserver.events().iter().all(|event| event.body() == "open"));
}
