//! What people write in encrypted rooms reaches Odoo like everything else.

use std::time::{Duration, Instant};

use serde_json::json;
use stack::{process::Signal, relay::Relay, webhook::Webhook, world::kill};

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

    let key = json!({ "alg": "A256CTR", "k": "c2VjcmV0" });
    let file = json!({ "url": "mxc://x.org/a", "key": key, "iv": "aXY", "hashes": { "sha256": "aGFzaA" }, "v": "v2" });
    let preview = json!({ "thumbnail_file": file });
    let keys = reader.say(&room, &json!({ "msgtype": "m.file", "body": "x.pdf", "file": file, "info": preview })).await;
    reader.give_keys(&keys).await;
    odoo.until_events(4).await;

    let content = odoo.events()[3]["content"].clone();
    assert!(!content.to_string().contains("c2VjcmV0"), "{content}");
    let sealed = content["file"]["org.odoo.sealed"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&office.unseal(sealed)).unwrap(), file);
}

#[tokio::test]
async fn of_what_cannot_be_read_odoo_gets_the_reason_and_the_text_if_its_key_comes_after_all() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let odoo = Webhook::start().await.unwrap();
    office.world.follow(&odoo).await;
    let worker = office.worker("w1");
    office.deliver(&room, "question").await;
    let mut phone = Reader::new(&office.synapse, &anna).await;
    let mut laptop = Reader::new(&office.synapse, &office.synapse.log_in(&anna, "in").await.unwrap()).await;

    let of_phone = phone.say(&room, &text("from the phone")).await;
    let of_laptop = laptop.say(&room, &text("from the laptop")).await;
    anna.say(&room, &text("in clear")).await.unwrap();
    odoo.until_events(3).await;
    let came = Instant::now();
    laptop.say(&room, &text("from the laptop again")).await;
    odoo.until_events(4).await;

    assert!(came.elapsed() < Duration::from_secs(10), "the same key is not waited for twice");
    let events = odoo.events();
    for event in [&events[0], &events[1], &events[3]] {
        assert_eq!(event["org.odoo.unreadable"], "the sender's device has not sent the key");
        assert_eq!((&event["type"], &event["content"]), (&json!("m.room.encrypted"), &json!({})));
    }
    assert_eq!(events[2]["content"]["body"], "in clear");

    phone.give_keys(&of_phone).await;
    odoo.until_events(5).await;
    assert_eq!(odoo.bodies(&room)[4..], ["from the phone"]);

    // It is not forgotten when another worker takes over.
    kill(&worker).await;
    laptop.give_keys(&of_laptop).await;
    let _worker = office.worker("w2");
    odoo.until_events(7).await;
    assert_eq!(odoo.bodies(&room)[5..], ["from the laptop", "from the laptop again"]);
    assert_eq!(odoo.events()[5]["event_id"], events[1]["event_id"]);
}

#[tokio::test]
async fn who_says_that_there_is_no_key_is_not_waited_for() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let odoo = Webhook::start().await.unwrap();
    office.world.follow(&odoo).await;
    let _worker = office.worker("w1");
    office.deliver(&room, "question").await;
    let mut reader = Reader::new(&office.synapse, &anna).await;

    let keys = reader.say(&room, &text("secret")).await;
    reader.withhold(&keys, "m.blacklisted").await;
    let started = Instant::now();
    odoo.until_events(1).await;

    assert!(started.elapsed() < Duration::from_secs(9), "it was waited for");
    let reason = odoo.events()[0]["org.odoo.unreadable"].clone();
    assert!(reason.as_str().unwrap().contains("has blocked the account's device"), "{reason}");
}

#[tokio::test]
async fn where_encryption_is_not_set_up_nothing_is_said_of_encrypted_rooms() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let odoo = Webhook::start().await.unwrap();
    office.world.client.batch_execute("UPDATE matrix_backend SET encryption_mode = 'refuse'").await.unwrap();
    office.world.follow(&odoo).await;
    let _worker = office.worker("w1");
    office.world.until_followed().await;
    let mut reader = Reader::new(&office.synapse, &anna).await;

    reader.say(&room, &text("secret")).await;
    anna.say(&room, &text("in clear")).await.unwrap();
    odoo.until_events(1).await;

    assert_eq!(odoo.bodies(&room), ["in clear"]);
    assert!(!office.world.worker_logs().contains("cannot be read"), "{}", office.world.worker_logs());
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
    odoo.until_events(2).await;

    assert_eq!(odoo.bodies(&room), ["", "of Anna"]);
    let reason = odoo.events()[0]["org.odoo.unreadable"].clone();
    assert!(reason.as_str().unwrap().contains("not from the person that the homeserver names"), "{reason}");
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

#[tokio::test]
async fn where_odoo_gets_no_messages_the_next_worker_goes_on_where_the_device_was() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let relay = Relay::start(office.synapse.url()).await.unwrap();
    let sql = "UPDATE matrix_backend SET homeserver_url = $1";
    office.world.client.execute(sql, &[&relay.url()]).await.unwrap();
    let _reader = Reader::new(&office.synapse, &anna).await;
    let worker = office.worker("w1");
    office.deliver(&room, "one").await;
    worker.stop(Signal::TERM).await.unwrap();

    // This is how it would look for the present position, which is worth nothing to the device.
    relay.lose("sync?timeout=0");
    let _worker = office.worker("w2");
    office.deliver(&room, "two").await;

    assert_eq!(relay.left(), 1, "it began elsewhere");
}
