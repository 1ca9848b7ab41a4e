//! What people write in encrypted rooms reaches Odoo like everything else.

use serde_json::json;
use stack::webhook::Webhook;

use crate::{
    delivery::Office,
    people::{LENIENT, Reader, homeserver, send_encrypted},
};

fn text(body: &str) -> serde_json::Value {
    json!({ "msgtype": "m.text", "body": body })
}

#[tokio::test]
async fn odoo_gets_what_is_written_in_encrypted_rooms_in_order_also_if_the_key_comes_late() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let odoo = Webhook::start().await.unwrap();
    office.world.follow(&odoo).await;
    let _worker = office.worker("w1");
    office.deliver(&room, "question").await;

    // The event is there before its key.
    let keys = reader.say(&room, &text("one")).await;
    anna.say(&room, &text("in clear")).await.unwrap();
    reader.give_keys(&keys).await;
    let keys = reader.say(&room, &text("two")).await;
    reader.give_keys(&keys).await;
    odoo.until_events(3).await;

    assert_eq!(odoo.bodies(&room), ["one", "in clear", "two"]);
    let event = &odoo.events()[0];
    assert_eq!((event["type"].as_str(), event["sender"].as_str()), (Some("m.room.message"), Some(anna.id())));

    // What nobody gives a key for holds up nothing for long, and Odoo does not see it.
    let mut stranger = Reader::new(&office.synapse, &office.synapse.log_in(&anna, "in").await.unwrap()).await;
    stranger.say(&room, &text("without a key")).await;
    anna.say(&room, &text("after it")).await.unwrap();
    odoo.until_events(4).await;
    assert_eq!(odoo.bodies(&room).last().unwrap(), "after it");
    assert!(office.world.worker_logs().contains("its key did not come"));
}

#[tokio::test]
async fn nobody_can_pass_off_what_somebody_else_has_written_as_their_own() {
    let office = Office::open().await;
    let (anna, ben) = (office.person("anna").await, office.person("ben").await);
    let room = office.encrypted_room(&[&anna, &ben]).await;
    let mut phone = Reader::new(&office.synapse, &anna).await;
    let odoo = Webhook::start().await.unwrap();
    office.world.follow(&odoo).await;
    let _worker = office.worker("w1");
    office.deliver(&room, "question").await;

    let (keys, answer) = phone.encrypt(&room, &text("of Anna, sent by Ben")).await;
    phone.give_keys(&keys).await;
    send_encrypted(&homeserver(&office.synapse, &ben), &room, answer).await;
    let keys = phone.say(&room, &text("of Anna")).await;
    phone.give_keys(&keys).await;
    odoo.until_events(1).await;

    assert_eq!(odoo.bodies(&room), ["of Anna"]);
    assert!(office.world.worker_logs().contains("not from the person that the homeserver names"));
}

#[tokio::test]
async fn what_is_wrong_with_the_webhook_does_not_keep_messages_to_encrypted_rooms_waiting() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let wrong =
        "UPDATE matrix_backend SET inbound_mode = 'follow', inbound_url = 'nowhere', inbound_secret_sealed = 'plain:x'";
    office.world.client.batch_execute(wrong).await.unwrap();
    let _worker = office.worker("w1");

    for body in ["one", "two"] {
        office.deliver(&room, body).await;
    }

    assert_eq!(reader.read(&room, LENIENT).await, [Ok("one".to_owned()), Ok("two".to_owned())]);
    office.world.until("SELECT state = 'waiting' FROM matrix_follower").await;
}
