//! Edits and redactions: they name the event of the message that they change, which only the worker knows.

use serde_json::{Value, json};
use stack::{homeserver::Fault, world::World};

use crate::BINARY;

const ROOM: &str = "!case:double.test";

/// Queues an event about the record that all events of this test are about.
async fn enqueue(world: &World, matrix_type: &str, txn_id: &str, content: Value) -> i64 {
    let sql =
        "INSERT INTO matrix_outbox (backend_id, event_type, room_id, matrix_type, content, txn_id, res_model, res_id)
        VALUES ($1, 'chatter', $2, $3, $4, $5, 'test.ticket', 7) RETURNING id";
    world.client.query_one(sql, &[&world.backend, &ROOM, &matrix_type, &content, &txn_id]).await.unwrap().get(0)
}

async fn post(world: &World) -> i64 {
    enqueue(world, "m.room.message", "original", json!({ "msgtype": "m.text", "body": "Frist" })).await
}

async fn edit(world: &World) -> i64 {
    let new = json!({ "msgtype": "m.text", "body": "First" });
    let content =
        json!({ "msgtype": "m.text", "body": "* First", "m.new_content": new, "org.odoo.changes": "original" });
    enqueue(world, "m.room.message", "edit", content).await
}

async fn redact(world: &World) -> i64 {
    let content = json!({ "reason": "Deleted in Odoo", "org.odoo.changes": "original" });
    enqueue(world, "m.room.redaction", "redaction", content).await
}

/// The edit and the redaction are in the room after the message, and name it.
fn assert_changed(world: &World) {
    let events = world.homeserver.events();
    let [original, edit, redaction] = events.as_slice() else { panic!("three events, not {events:?}") };
    assert_eq!(original.body(), "Frist");
    assert_eq!(edit.content["m.relates_to"], json!({ "rel_type": "m.replace", "event_id": original.id }));
    assert_eq!(edit.content["m.new_content"]["body"], "First");
    assert_eq!(redaction.event_type, "m.room.redaction");
    assert_eq!(redaction.content["redacts"], json!(original.id));
}

#[tokio::test]
async fn changes_in_the_claim_of_their_message_name_its_event() {
    let world = World::new(BINARY).await;
    let ids = [post(&world).await, edit(&world).await, redact(&world).await];

    let _worker = world.worker("w1");

    world.assert_settled(&ids).await;
    assert_changed(&world);
}

/// The message is found in the room when it is too late to send it again.
#[tokio::test]
async fn changes_of_a_message_that_arrived_without_an_answer_before_it_expired_name_its_event() {
    let world = World::new(BINARY).await;
    world.homeserver.poison("Frist", Fault::SilenceAccepted);
    let ids = [post(&world).await, edit(&world).await, redact(&world).await];
    let mark = r#"UPDATE matrix_outbox SET content = content || '{"org.odoo.outbox": "original"}' WHERE id = $1"#;
    world.client.execute(mark, &[&ids[0]]).await.unwrap();
    let _worker = world.worker("w1");
    world.until_resting(ROOM).await;

    let expire = "UPDATE matrix_outbox SET expires_at = now() AT TIME ZONE 'UTC' - interval '1 s' WHERE id = $1";
    world.client.execute(expire, &[&ids[0]]).await.unwrap();
    world.later(0).await;

    world.assert_settled(&ids).await;
    assert_changed(&world);
}

#[tokio::test]
async fn changes_that_another_worker_sends_later_name_the_event() {
    let world = World::new(BINARY).await;
    let original = post(&world).await;
    let drain = world.command(&["drain"]).await;
    assert!(drain.status.success());

    let ids = [original, edit(&world).await, redact(&world).await];
    let _worker = world.worker("w2");

    world.assert_settled(&ids).await;
    assert_changed(&world);
}

#[tokio::test]
async fn changes_of_a_message_that_was_never_sent_are_not_sent() {
    let world = World::new(BINARY).await;
    world.homeserver.poison("Frist", Fault::Refuse { status: 413, errcode: "M_TOO_LARGE" });
    let ids = [post(&world).await, edit(&world).await, redact(&world).await];

    let _worker = world.worker("w1");

    world.assert_settled(&ids).await;
    assert_eq!(world.homeserver.count(), 0);
    let log = world.log().await;
    let codes: Vec<_> = log.iter().map(|row| row.error_code.as_deref().unwrap()).collect();
    assert_eq!(codes, ["M_TOO_LARGE", "org.odoo.nothing_to_change", "org.odoo.nothing_to_change"]);
    assert_eq!(log[2].body, "Deleted in Odoo");
}

#[tokio::test]
async fn a_redaction_whose_answer_is_lost_is_repeated_under_its_transaction_id() {
    let world = World::new(BINARY).await;
    let original = post(&world).await;
    assert!(world.command(&["drain"]).await.status.success());
    world.homeserver.fail_room(ROOM, 2, Fault::ResetAccepted);

    let ids = [original, redact(&world).await];
    let _worker = world.worker("w1");

    world.assert_settled(&ids).await;
    let redactions = world.homeserver.events().into_iter().filter(|event| event.event_type == "m.room.redaction");
    assert_eq!(redactions.count(), 1);
}
