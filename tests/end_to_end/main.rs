//! The whole path on real parts: Odoo, PostgreSQL, the worker, Synapse.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

mod contacts;
mod create_room;
mod latency;
mod replaced;
mod threads;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use stack::office::Office;
use stack::synapse::Event;
use stack::{postgres, story};

async fn open_office() -> Office {
    let binary = Path::new(env!("CARGO_BIN_EXE_odoo-matrix-worker"));
    Office::open(postgres::shared().await, binary).await.unwrap()
}

fn bodies(messages: &[Event]) -> Vec<&str> {
    messages.iter().map(Event::body).collect()
}

#[tokio::test]
async fn what_happens_to_a_case_is_read_in_its_room_and_in_logs() {
    let office = open_office().await;

    let texts = story::play(&office).await.unwrap();

    story::check(&office, &texts).await.unwrap();
}

/// Synapse takes ten messages at once and then one in five seconds.
#[tokio::test]
async fn more_messages_than_the_homeserver_takes_at_once_all_arrive() {
    let office = open_office().await;
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    let mut texts = vec!["Case Doe against Acme created for Jane Doe".to_owned()];
    let began = Instant::now();

    for number in 2..=15 {
        texts.push(format!("Message {number}"));
        office.admin.write("legal.case", case, json!({"matrix_message": texts.last()})).await.unwrap();
        office.admin.press("legal.case", case, "action_matrix_send_message").await.unwrap();
    }

    let messages = story::arrived(&office, &office.room, texts.len(), Duration::from_secs(180)).await.unwrap();
    assert_eq!(bodies(&messages), texts, "{}", office.worker.process().tail());
    assert!(began.elapsed() > Duration::from_secs(10), "the homeserver limited nobody: {:?}", began.elapsed());
    let logs = story::logged(&office, texts.len(), Duration::from_secs(30)).await.unwrap();
    assert_eq!(logs.iter().map(|row| row["status"].as_str().unwrap()).collect::<Vec<_>>(), ["ok"; 15]);
}

#[tokio::test]
async fn a_transaction_that_odoo_rolls_back_sends_nothing() {
    let office = open_office().await;
    let client = office.admin.create("res.partner", json!({"name": "Jane Doe"})).await.unwrap();
    let case = |name: &str, client| json!({"name": name, "partner_id": client, "matrix_room_id": office.room});

    let both = json!([[case("Rolled back", client), case("No such client", 0x7fff_ffff)]]);
    office.admin.execute_kw("legal.case", "create", both, json!({})).await.expect_err("there is no such client");
    office.admin.create("legal.case", case("Kept", client)).await.unwrap();

    let messages = story::arrived(&office, &office.room, 1, Duration::from_secs(60)).await.unwrap();
    assert_eq!(bodies(&messages), ["Case Kept created for Jane Doe"]);
    assert_eq!(story::logged(&office, 1, Duration::from_secs(30)).await.unwrap().len(), 1);
    let database = office.site.database().connect().await.unwrap();
    let waiting = database.query_one("SELECT count(*) FROM matrix_outbox", &[]).await.unwrap();
    assert_eq!(waiting.get::<_, i64>(0), 0);
}

/// Waits until the lawyer sees what `seen` looks for in the room; returns what they see in the end, oldest first.
async fn until(office: &Office, seen: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let deadline = Instant::now() + Duration::from_secs(90);
    let (_, mut since) = office.lawyer.sync(&office.room, "").await.unwrap();
    loop {
        let events = office.lawyer.timeline(&office.room).await.unwrap();
        if seen(&events) || Instant::now() > deadline {
            return events;
        }
        // Comes back when something happens.
        (_, since) = office.lawyer.sync(&office.room, &since).await.unwrap();
    }
}

#[tokio::test]
async fn a_chatter_message_that_is_edited_and_deleted_in_odoo_is_edited_and_deleted_in_its_room() {
    let office = open_office().await;
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    office.admin.write("legal.case", case, json!({"matrix_mirror_chatter": true})).await.unwrap();
    let comment =
        json!({"body": "The hering is on Friday", "message_type": "comment", "subtype_xmlid": "mail.mt_comment"});
    office.admin.execute_kw("legal.case", "message_post", json!([[case]]), comment).await.unwrap();
    let find = json!([["model", "=", "legal.case"], ["res_id", "=", case], ["body", "like", "hering"]]);
    let found = office.admin.search_read("mail.message", find, &["id"], "id").await.unwrap();
    let message = found[0]["id"].as_i64().unwrap();
    let has_arrived = |events: &[Event]| events.iter().any(|event| event.body().contains("hering"));
    let original = until(&office, has_arrived).await.pop().expect("the room has events");
    assert!(original.body().ends_with(": The hering is on Friday"), "{original:?}");

    office.admin.write("mail.message", message, json!({"body": "The hearing is on Friday"})).await.unwrap();

    let edit = until(&office, |events| events.iter().any(|event| event.content["m.new_content"].is_object())).await;
    let edit = edit.last().expect("the room has events");
    let relation = json!({"rel_type": "m.replace", "event_id": original.event_id});
    assert_eq!(edit.content["m.relates_to"], relation, "{}", office.worker.process().tail());
    let new = edit.content["m.new_content"]["body"].as_str().unwrap();
    assert!(new.ends_with(": The hearing is on Friday"), "{new}");

    office.admin.execute_kw("mail.message", "unlink", json!([[message]]), json!({})).await.unwrap();

    let is_text = |event: &&Event| event.body().contains("Friday");
    let left = until(&office, |events| !events.iter().any(|event| is_text(&event))).await;
    assert_eq!(left.iter().filter(is_text).count(), 0, "{}", office.worker.process().tail());
    let redactions = left.iter().filter(|event| event.kind == "m.room.redaction").count();
    assert_eq!(redactions, 2, "of the message and of its edit: {left:?}");
    // Case created, message, edit, two redactions.
    let logs = story::logged(&office, 5, Duration::from_secs(30)).await.unwrap();
    assert!(logs.iter().all(|row| row["status"] == "ok"), "{logs:?}");
}
