//! A worker that can encrypt, as the packaged one, for a backend on which nobody has set encryption up: it behaves as one that cannot.

use serde_json::json;
use stack::{
    homeserver::{Request, Room},
    process::Signal,
    webhook::Webhook,
    world::World,
};

use crate::{
    BINARY,
    delivery::{Office, is_plain_ok},
    people::{Reader, STRICT},
};

const SECRET: &str = "!secret:double.test";
const OPEN: &str = "!open:double.test";
const JANE: &str = "@jane:double.test";

#[tokio::test]
async fn until_encryption_is_set_up_encrypted_rooms_are_refused_and_no_key_is_asked_for_or_uploaded() {
    let world = World::new(BINARY).await;
    let webhook = Webhook::start().await.unwrap();
    world.follow(&webhook).await;
    world.homeserver.room(SECRET, Room { is_encrypted: true, ..Room::default() });
    world.homeserver.room(OPEN, Room::default());
    let _worker = world.worker("w1");
    world.until_followed().await;

    let ids = [world.enqueue(SECRET, "secret").await, world.enqueue(OPEN, "open").await];
    world.assert_settled(&ids).await;
    world.homeserver.tell(SECRET, JANE, "m.room.encrypted", json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
    world.homeserver.say(OPEN, JANE, "answer");
    webhook.until_events(1).await;

    let log = world.log().await;
    let refused: Vec<_> = log.iter().filter(|row| row.status != "ok").collect();
    let [row] = refused[..] else { panic!("{log:?}") };
    assert_eq!((row.outbox_id, row.is_final), (ids[0], true), "{row:?}");
    assert_eq!(row.error_code.as_deref(), Some("org.odoo.encrypted"), "{row:?}");
    assert_eq!((world.homeserver.bodies(SECRET), world.homeserver.bodies(OPEN)), (vec![], vec!["open".to_owned()]));
    assert_eq!((webhook.bodies(SECRET), webhook.bodies(OPEN)), (vec![], vec!["answer".to_owned()]));
    let about_keys = |it: &Request| it.path.first().is_some_and(|part| part == "keys");
    let about_keys: Vec<_> = world.homeserver.requests().into_iter().filter(about_keys).collect();
    assert!(about_keys.is_empty(), "{about_keys:?}");
    let device = "SELECT EXISTS (SELECT FROM matrix_crypto)";
    assert!(!world.client.query_one(device, &[]).await.unwrap().get::<_, bool>(0));
}

/// A record whose users have agreed to unencrypted messages. They cannot take that back for those that already wait.
#[tokio::test]
async fn consent_to_send_unencrypted_counts_until_encryption_is_set_up() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let record = format!(
        "CREATE TABLE test_record (id integer PRIMARY KEY, matrix_room_id varchar, matrix_send_unencrypted boolean);
        INSERT INTO test_record VALUES (7, '{room}', true)"
    );
    office.world.client.batch_execute(&record).await.unwrap();

    for mode in ["refuse", "encrypt"] {
        let queue = format!(
            r#"UPDATE matrix_backend SET encryption_mode = '{mode}';
            INSERT INTO matrix_outbox (backend_id, event_type, room_id, res_model, res_id, content, txn_id)
            VALUES ({}, 'manual', '{room}', 'test.record', 7,
                '{{"msgtype": "m.text", "body": "{mode}", "org.odoo.unencrypted": true}}', '{mode}')"#,
            office.world.backend
        );
        office.world.client.batch_execute(&queue).await.unwrap();
        let worker = office.worker("w1");
        office.world.until_empty().await;
        worker.stop(Signal::TERM).await.unwrap();
    }

    let log = office.world.log().await;
    assert!(log.len() == 2 && log.iter().all(is_plain_ok), "{log:?}");
    assert_eq!(reader.read(&room, STRICT).await, [Err("in clear: refuse".to_owned()), Ok("encrypt".to_owned())]);
}
