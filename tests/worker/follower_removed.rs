//! The account is removed from a room that it follows.

use stack::{homeserver::Fault, process::Signal};

use crate::follower::{ROOM, followed, say};

/// It may no longer read the room's history, so the answer that says so is all that there is.
#[tokio::test]
async fn what_was_written_just_before_the_account_was_removed_reaches_odoo() {
    let (world, webhook) = followed().await;
    let worker = world.worker("w1");
    world.until_followed().await;
    worker.stop(Signal::TERM).await.unwrap();

    world.homeserver.tell_at_most(3);
    say(&world, ROOM, "text", 1..=5);
    world.homeserver.remove(ROOM);
    world.homeserver.fail_room(ROOM, 1, Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });
    let _worker = world.worker("w2");

    webhook.until_events(2).await;
    assert_eq!(webhook.bodies(ROOM), ["text 4", "text 5"]);
}
