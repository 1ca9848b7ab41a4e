//! A room that was just linked: Odoo and the worker come to it at the same time.

use stack::{
    homeserver::{Fault, Membership, Request, Room},
    world::World,
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";

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

    // Odoo checks a room that was just linked.
    world.homeserver.room(ROOM, Room::default());
    world.homeserver.release();

    world.assert_settled(&[id]).await;
    let log = world.log().await;
    assert!(log.iter().all(|row| row.status == "ok"), "{log:?}");
}
