//! The first message of a record begins a thread, and later ones are sent in it.

use serde_json::{Value, json};
use stack::{
    homeserver::{Event, Fault, Membership, Room},
    world::World,
};

use crate::BINARY;

const ROOM: &str = "!cases:double.test";
const NEW: &str = "!new:double.test";

/// Queues a message about record `res_id` as Odoo does for a backend that uses threads.
async fn enqueue(world: &World, event_type: &str, body: &str, res_id: i32, more: Value) -> i64 {
    let mut content = json!({ "msgtype": "m.text", "body": body, "org.odoo.thread": ["summed up", "opened"] });
    content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let sql =
        "INSERT INTO matrix_outbox (backend_id, event_type, room_id, matrix_type, content, txn_id, res_model, res_id)
        VALUES ($1, $2, $3, $4, $5, $6, 'test.ticket', $7) RETURNING id";
    let kind = if event_type == "redaction" { "m.room.redaction" } else { "m.room.message" };
    world
        .client
        .query_one(sql, &[&world.backend, &event_type, &ROOM, &kind, &content, &body, &res_id])
        .await
        .unwrap()
        .get(0)
}

async fn open(world: &World, res_id: i32) -> i64 {
    enqueue(world, "opened", &format!("Case {res_id} created"), res_id, json!({})).await
}

async fn moved(world: &World, body: &str, res_id: i32) -> i64 {
    enqueue(world, "moved", body, res_id, json!({})).await
}

/// Lets a worker that knows nothing yet send what waits.
async fn drain(world: &World) {
    let output = world.command(&["drain"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn event(world: &World, body: &str) -> Event {
    world.homeserver.events().into_iter().find(|event| event.body() == body).unwrap_or_else(|| panic!("no {body}"))
}

/// `body` is in the thread that `root` begins, and names `last` for clients without threads.
fn assert_within(world: &World, body: &str, root: &str, last: &str) {
    let relation = json!({
        "rel_type": "m.thread",
        "event_id": event(world, root).id,
        "is_falling_back": true,
        "m.in_reply_to": { "event_id": event(world, last).id },
    });
    assert_eq!(event(world, body).content["m.relates_to"], relation, "{body}");
}

fn assert_outside(world: &World, body: &str) {
    assert_eq!(event(world, body).content["m.relates_to"], Value::Null, "{body}");
}

#[tokio::test]
async fn later_messages_of_a_record_are_sent_in_the_thread_of_its_first_one() {
    let world = World::new(BINARY).await;
    let mut ids = vec![open(&world, 1).await, open(&world, 2).await];
    ids.push(moved(&world, "1 to court", 1).await);
    ids.push(moved(&world, "2 to court", 2).await);
    drain(&world).await;

    // Another worker, which has not sent the first one.
    for body in ["1 closed", "1 open again"] {
        ids.push(moved(&world, body, 1).await);
    }
    drain(&world).await;

    world.assert_settled(&ids).await;
    assert_outside(&world, "Case 1 created");
    assert_outside(&world, "Case 2 created");
    assert_within(&world, "1 to court", "Case 1 created", "Case 1 created");
    assert_within(&world, "2 to court", "Case 2 created", "Case 2 created");
    assert_within(&world, "1 closed", "Case 1 created", "1 to court");
    assert_within(&world, "1 open again", "Case 1 created", "1 closed");
}

/// Before the backend used threads, or before this worker knew them, only the log had the first message; it forgets it after a year.
#[tokio::test]
async fn a_record_from_before_threads_were_used_gets_one_that_outlives_the_log() {
    let world = World::new(BINARY).await;
    let mut ids = vec![open(&world, 1).await];
    drain(&world).await;
    world.client.batch_execute("DELETE FROM matrix_thread").await.unwrap();

    ids.push(moved(&world, "found in the log", 1).await);
    drain(&world).await;
    world.assert_settled(&ids).await;
    world.client.batch_execute("DELETE FROM matrix_log").await.unwrap();
    let after = moved(&world, "found in its table", 1).await;
    drain(&world).await;

    world.until(&format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {after} AND status = 'ok')")).await;
    assert_within(&world, "found in the log", "Case 1 created", "Case 1 created");
    assert_within(&world, "found in its table", "Case 1 created", "found in the log");
}

#[tokio::test]
async fn without_a_first_message_or_after_it_was_redacted_messages_are_sent_outside() {
    let world = World::new(BINARY).await;
    let mut ids = vec![moved(&world, "never opened", 3).await, open(&world, 1).await];
    ids.push(moved(&world, "within", 1).await);
    let redaction = json!({ "reason": "gone", "org.odoo.changes": "Case 1 created" });
    ids.push(enqueue(&world, "redaction", "redaction", 1, redaction).await);
    drain(&world).await;
    ids.push(moved(&world, "after the redaction", 1).await);
    drain(&world).await;

    world.assert_settled(&ids).await;
    assert_outside(&world, "never opened");
    assert_within(&world, "within", "Case 1 created", "Case 1 created");
    assert_outside(&world, "after the redaction");
}

#[tokio::test]
async fn in_the_room_that_replaced_the_first_one_messages_are_sent_outside() {
    let world = World::new(BINARY).await;
    let members = vec!["@lawyer:double.test".to_owned()];
    world.homeserver.room(ROOM, Room { members: members.clone(), ..Room::default() });
    let mut ids = vec![open(&world, 1).await];
    drain(&world).await;
    world.homeserver.room(ROOM, Room { tombstone: Some(NEW.to_owned()), members: members.clone(), ..Room::default() });
    let predecessor = Some(ROOM.to_owned());
    let invited_by = Some(members[0].clone());
    world.homeserver.room(NEW, Room { membership: Membership::Invited, predecessor, invited_by, ..Room::default() });

    ids.push(moved(&world, "in the new room", 1).await);
    drain(&world).await;

    world.assert_settled(&ids).await;
    assert_eq!(world.homeserver.bodies(NEW), ["in the new room"]);
    assert_outside(&world, "in the new room");
}

/// A history that the homeserver has purged, for example.
#[tokio::test]
async fn a_message_that_is_refused_in_its_thread_is_sent_outside_of_it() {
    let world = World::new(BINARY).await;
    let mut ids = vec![open(&world, 1).await, moved(&world, "within", 1).await];
    drain(&world).await;
    let within = event(&world, "within").id;
    let sql = "UPDATE matrix_thread SET root_event_id = $1";
    world.client.execute(sql, &[&within]).await.unwrap();

    for body in ["refused there", "the next one"] {
        ids.push(moved(&world, body, 1).await);
    }
    drain(&world).await;

    world.assert_settled(&ids).await;
    assert_outside(&world, "refused there");
    assert_outside(&world, "the next one");
    assert!(world.log().await.iter().all(|row| row.status == "ok"));
}

/// Too large for an event, for example: that says nothing about the thread.
#[tokio::test]
async fn a_message_that_is_refused_outside_of_its_thread_too_closes_it_for_no_other() {
    let world = World::new(BINARY).await;
    world.homeserver.poison("too large", Fault::Refuse { status: 413, errcode: "M_TOO_LARGE" });
    let mut ids = vec![open(&world, 1).await];
    for body in ["before", "too large", "after"] {
        ids.push(moved(&world, body, 1).await);
    }
    let _worker = world.worker("w1");

    world.assert_settled(&ids).await;
    let failed: Vec<_> = world.log().await.into_iter().filter(|row| row.status != "ok").collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_within(&world, "before", "Case 1 created", "Case 1 created");
    assert_within(&world, "after", "Case 1 created", "before");
}

#[tokio::test]
async fn an_edit_stays_an_edit_and_a_lost_answer_doubles_nothing() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_room(ROOM, 1, Fault::ResetAccepted);
    let mut ids = vec![open(&world, 1).await, moved(&world, "Frist", 1).await];
    let edit = json!({ "m.new_content": { "msgtype": "m.text", "body": "First" }, "org.odoo.changes": "Frist", "body": "* First" });
    ids.push(enqueue(&world, "moved", "edit", 1, edit).await);
    drain(&world).await;

    world.assert_settled(&ids).await;
    assert_within(&world, "Frist", "Case 1 created", "Case 1 created");
    let relation = json!({ "rel_type": "m.replace", "event_id": event(&world, "Frist").id });
    assert_eq!(event(&world, "* First").content["m.relates_to"], relation);
}
