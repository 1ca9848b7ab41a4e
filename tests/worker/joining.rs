//! Rooms that the account has to join first.

use stack::{
    homeserver::{Fault, Membership, Request, Room},
    world::World,
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";

/// Odoo checks a room that was just linked, and the worker comes to it at the same time.
#[tokio::test]
async fn a_room_that_odoo_joins_for_the_account_meanwhile_gets_the_message() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, Room { membership: Membership::Invited, ..Room::default() });
    world.homeserver.fail_room(ROOM, 1, Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });
    world.homeserver.hold_answers();
    let id = world.enqueue(ROOM, "message").await;
    // Longer than the test holds the answer.
    let _worker = world.worker_with("w1", &[("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")]);
    world.homeserver.until("the message", |double| double.requests().iter().any(Request::is_send)).await;

    world.homeserver.room(ROOM, Room::default());
    world.homeserver.release();

    world.assert_settled(&[id]).await;
    let log = world.log().await;
    assert!(log.iter().all(|row| row.status == "ok"), "{log:?}");
}

#[tokio::test]
async fn a_limit_on_joining_holds_up_that_room_and_no_other() {
    let world = World::new(BINARY).await;
    let invited = Room { membership: Membership::Invited, join_limit_ms: Some(600_000), ..Room::default() };
    world.homeserver.room(ROOM, invited);
    let _worker = world.worker("w1");

    let held = world.enqueue(ROOM, "after the join").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_lane WHERE retry_at IS NOT NULL)").await;
    let other = world.enqueue("!other:double.test", "at once").await;
    world.homeserver.until_events(1).await;
    assert_eq!(world.homeserver.events()[0].body(), "at once");

    let due =
        "UPDATE matrix_lane SET retry_at = now() AT TIME ZONE 'UTC' WHERE retry_at IS NOT NULL; NOTIFY matrix_outbox";
    world.client.batch_execute(due).await.unwrap();
    world.assert_settled(&[held, other]).await;
    assert!(world.log().await.iter().all(|row| row.status == "ok"));
    assert_ne!(world.state().await.as_deref(), Some("rate_limited"));
}
