//! What `drain` waits for, and what it leaves.

use std::time::Duration;

use stack::{
    homeserver::{Fault, TOKEN},
    world::World,
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";
const OTHER: &str = "!other:double.test";

#[tokio::test]
async fn drain_waits_for_a_limited_account_beside_a_paused_one() {
    let mut world = World::new(BINARY).await;
    world.enqueue(ROOM, "paused").await;
    assert!(world.command(&["pause", "--all", "--reason", "stays"]).await.status.success());
    world.backend = world.add_backend(&world.homeserver.url(), &format!("plain:{TOKEN}")).await;
    world.enqueue(OTHER, "limited").await;
    world.homeserver.fail_next(1, Fault::Limit { retry_after_ms: 1500 });

    let drained = world.command(&["drain"]).await;

    assert_eq!(String::from_utf8_lossy(&drained.stdout), "1 sent, 0 failed, 1 still waiting\n");
}

#[tokio::test]
async fn drain_asks_whether_a_stopped_homeserver_is_back_and_sends_then() {
    let world = World::new(BINARY).await;
    let down = "INSERT INTO matrix_backend_status (backend_id, config_version, state, probe_interval_ms, next_probe_at)
        SELECT id, config_version, 'down', 5000, now() AT TIME ZONE 'UTC' FROM matrix_backend";
    world.client.execute(down, &[]).await.unwrap();
    world.enqueue(ROOM, "message").await;

    let drained = world.command(&["drain"]).await;

    assert_eq!(String::from_utf8_lossy(&drained.stdout), "1 sent, 0 failed, 0 still waiting\n");
}

/// Others pass, this room's messages do not: the room rests again and again until the homeserver has it back.
#[tokio::test]
async fn drain_does_not_wait_for_a_room_that_cannot_be_reached() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_shard(&[ROOM], Fault::Page { status: 502 });
    let resting = "INSERT INTO matrix_lane (lane, head_id, attempts, first_failed_at, last_error, retry_at)
        SELECT o.lane, o.id, 2, now() AT TIME ZONE 'UTC' - interval '30 s', 'HTTP 502', now() AT TIME ZONE 'UTC' + interval '300 ms'
        FROM matrix_outbox AS o ORDER BY o.id LIMIT 1";
    world.enqueue_many(&[ROOM], "message", 2).await;
    world.client.execute(resting, &[]).await.unwrap();
    world.enqueue_many(&[OTHER], "other", 3).await;

    let drained = tokio::time::timeout(Duration::from_secs(20), world.command(&["drain"])).await.unwrap();

    assert_eq!(String::from_utf8_lossy(&drained.stdout), "3 sent, 0 failed, 2 still waiting\n");
    assert_eq!(drained.status.code(), Some(1));
}

/// The end of such a rest is known, as that of a limited account's pause.
#[tokio::test]
async fn drain_waits_for_a_room_that_is_limited() {
    let world = World::new(BINARY).await;
    world.enqueue(ROOM, "message").await;
    let resting = "INSERT INTO matrix_lane (lane, retry_at) SELECT lane, now() AT TIME ZONE 'UTC' + interval '1500 ms' FROM matrix_outbox";
    world.client.execute(resting, &[]).await.unwrap();

    let drained = world.command(&["drain"]).await;

    assert_eq!(String::from_utf8_lossy(&drained.stdout), "1 sent, 0 failed, 0 still waiting\n");
}
