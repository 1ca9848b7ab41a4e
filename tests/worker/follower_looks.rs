//! While an account is followed, its rooms need not be looked at before each message.

use serde_json::json;
use stack::{
    homeserver::{BOT, Room},
    webhook::Fault,
};

use crate::follower::{ANNA, ROOM, followed, say};

/// Sending costs no other request, for as long as it is known that nothing has changed.
#[tokio::test]
async fn while_an_account_is_followed_a_room_is_looked_at_once_and_again_when_it_changes() {
    let (world, webhook) = followed().await;
    let _worker = world.worker("w1");
    world.until_followed().await;
    world.homeserver.room(ROOM, Room { members: vec![ANNA.to_owned()], ..Room::default() });
    let send = async |body: &str| {
        let id = world.enqueue(ROOM, body).await;
        world.until(&format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {id})")).await;
        world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;
        world.log().await.pop().unwrap()
    };

    assert_eq!(send("first").await.status, "ok");
    let looks = world.homeserver.looks();
    for body in ["second", "third", "fourth"] {
        assert_eq!(send(body).await.status, "ok");
    }
    assert_eq!(world.homeserver.looks(), looks, "looked at although nothing has changed");

    // By somebody who has the account: the one sender whose messages Odoo does not want.
    world.homeserver.room(ROOM, Room { is_encrypted: true, ..Room::default() });
    world.homeserver.tell(ROOM, BOT, "m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
    say(&world, ROOM, "after", [1]);
    webhook.until_events(1).await;
    let row = send("fifth").await;
    assert_eq!(row.error_code.as_deref(), Some("org.odoo.encrypted"), "{row:?}");
    assert!(world.homeserver.looks() > looks);

    // Without Odoo nothing more is read, so each claim looks.
    webhook.fail_always(Fault::Status(503));
    say(&world, ROOM, "after", [2]);
    world.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'waiting')").await;
    let looks = world.homeserver.looks();
    send("sixth").await;
    send("seventh").await;
    assert_eq!(world.homeserver.looks(), looks + 4);
}
