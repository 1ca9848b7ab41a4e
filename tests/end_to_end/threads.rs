//! The thread of a case, what is answered in it, and the room that replaces its room.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::{office::Office, story};

use crate::{bodies, open_office};

const WITHIN: Duration = Duration::from_secs(90);

/// Waits until `found` is true of what Odoo answers; returns the answer in the end.
async fn until(
    office: &Office,
    model: &str,
    domain: Value,
    fields: &[&str],
    found: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let rows = office.admin.search_read(model, domain.clone(), fields, "id").await.unwrap();
        if found(&rows) || Instant::now() > deadline {
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn notes_of(case: i64) -> Value {
    json!([["model", "=", "legal.case"], ["res_id", "=", case], ["subtype_id.internal", "=", true]])
}

async fn run_cron(office: &Office, name: &str) {
    let crons = office.admin.search_read("ir.cron", json!([["cron_name", "=", name]]), &["id"], "id").await.unwrap();
    office.admin.press("ir.cron", crons[0]["id"].as_i64().unwrap(), "method_direct_trigger").await.unwrap();
}

#[tokio::test]
async fn a_case_has_a_thread_that_is_answered_and_its_record_follows_to_a_new_room() {
    let office = open_office().await;
    let url = format!("{}/mail_matrix/inbound/{}", office.server.url(), office.backend);
    let options = json!({
        "use_threads": true, "notify_activity_created": true, "inbound_mode": "follow", "inbound_url": url,
    });
    office.admin.write("matrix.backend", office.backend, options).await.unwrap();
    let admin = office.admin.search_read("res.users", json!([["login", "=", "admin"]]), &["id"], "id").await.unwrap();
    let user = admin[0]["id"].as_i64().unwrap();
    office.admin.write("res.users", user, json!({"matrix_user_id": office.lawyer.id()})).await.unwrap();
    let database = office.site.database().connect().await.unwrap();
    let deadline = Instant::now() + WITHIN;
    let followed = "SELECT count(*) = 1 FROM matrix_follower WHERE since IS NOT NULL AND state = 'following'";
    while !database.query_one(followed, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "not followed\n{}", office.worker.process().tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // The first message begins the thread, the others are in it.
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    let stages = office.admin.search_read("legal.case.stage", json!([]), &["id"], "sequence, id").await.unwrap();
    let stage = |number: usize| json!({"stage_id": stages[number]["id"]});
    office.admin.write("legal.case", case, stage(1)).await.unwrap();
    let brief = json!({"summary": "Send the brief", "user_id": user});
    let call = json!([[case], "mail.mail_activity_data_todo"]);
    office.admin.execute_kw("legal.case", "activity_schedule", call, brief).await.unwrap();
    let messages = story::arrived(&office, &office.room, 3, WITHIN).await.unwrap();
    let relation = |last: usize| {
        json!({
            "rel_type": "m.thread", "event_id": messages[0].event_id, "is_falling_back": true,
            "m.in_reply_to": {"event_id": messages[last].event_id},
        })
    };
    assert_eq!(messages.len(), 3, "{:?}\n{}", bodies(&messages), office.worker.process().tail());
    assert_eq!(messages[0].content["m.relates_to"], Value::Null);
    assert_eq!(messages[1].content["m.relates_to"], relation(0));
    assert_eq!(messages[2].content["m.relates_to"], relation(1));
    assert!(messages[2].body().contains("Send the brief"), "{:?}", bodies(&messages));

    // An answer in the thread.
    let answer = json!({"msgtype": "m.text", "body": "I am on it", "m.relates_to": relation(2)});
    office.lawyer.say(&office.room, &answer).await.unwrap();
    let is_there = |text: &'static str| {
        move |rows: &[Value]| rows.iter().any(|row| row["body"].as_str().unwrap_or_default().contains(text))
    };
    let notes = until(&office, "mail.message", notes_of(case), &["body"], is_there("I am on it")).await;
    let note = notes.last().unwrap()["body"].as_str().unwrap();
    assert!(note.contains("I am on it") && note.contains("Case Doe against Acme created"), "{notes:?}");

    // A tick finishes the activity.
    office.lawyer.react(&office.room, &messages[2].event_id, "✅").await.unwrap();
    let open = json!([["res_model", "=", "legal.case"], ["res_id", "=", case]]);
    let left = until(&office, "mail.activity", open, &["summary"], <[Value]>::is_empty).await;
    assert!(left.is_empty(), "{left:?}\n{}", office.server.process().tail());

    // The room is replaced. The account is invited only after something else has happened.
    let new = office.lawyer.upgrade(&office.room).await.unwrap();
    let queued = json!([["event_type", "=", "room_replaced"]]);
    until(&office, "matrix.log", queued, &["status"], |rows| !rows.is_empty()).await;
    office.admin.write("legal.case", case, stage(2)).await.unwrap();
    office.lawyer.invite(&new, &office.bot).await.unwrap();
    let arrived = story::arrived(&office, &new, 2, WITHIN).await.unwrap();
    let texts = bodies(&arrived);
    assert_eq!(texts.len(), 2, "{texts:?}\n{}", office.worker.process().tail());
    assert_eq!(texts[0], "Messages from Odoo continue in this room.");
    assert!(texts[1].starts_with("Case Doe against Acme moved to"), "{texts:?}");

    // What is written there before and after the record has the new room comes to the record.
    office.lawyer.send(&new, "Before").await.unwrap();
    until(&office, "mail.message", notes_of(case), &["body"], is_there("Before")).await;
    let deadline = Instant::now() + WITHIN;
    loop {
        run_cron(&office, "Matrix: follow rooms that were replaced").await;
        let linked =
            office.admin.search_read("legal.case", json!([["id", "=", case]]), &["matrix_room_id"], "id").await;
        if linked.unwrap()[0]["matrix_room_id"] == new.as_str() {
            break;
        }
        assert!(Instant::now() < deadline, "{}", office.worker.process().tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    office.lawyer.send(&new, "After").await.unwrap();
    let notes = until(&office, "mail.message", notes_of(case), &["body"], is_there("After")).await;
    let texts: Vec<_> = notes.iter().map(|row| row["body"].as_str().unwrap_or_default()).collect();
    let place = |text: &str| texts.iter().position(|body| body.contains(text)).unwrap_or_else(|| panic!("{texts:?}"));
    assert!(place("Before") < place("was replaced by another one"), "{texts:?}");
    assert!(place("was replaced by another one") < place("After"), "{texts:?}");

    office.admin.write("legal.case", case, stage(0)).await.unwrap();
    let arrived = story::arrived(&office, &new, 5, WITHIN).await.unwrap();
    let of_odoo: Vec<_> = arrived.iter().filter(|event| event.sender == office.bot.id()).collect();
    assert_eq!(of_odoo.len(), 3, "{:?}", bodies(&arrived));
    let logs = office.logs().await.unwrap();
    assert!(logs.iter().filter(|row| row["is_final"] == true).all(|row| row["status"] == "ok"), "{logs:?}");
}
