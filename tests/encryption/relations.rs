//! Threads, replies, edits and redactions in encrypted rooms. Which event another one belongs to is not encrypted, so that homeserver and
//! clients see it.

use serde_json::{Value, json};
use stack::webhook::Webhook;

use crate::{
    delivery::Office,
    people::{Reader, STRICT, homeserver, send_encrypted},
};

/// Queues a message about a record as Odoo does for a backend that uses threads, and waits until it is sent. Returns its event.
async fn deliver(office: &Office, room: &str, kind: &str, txn_id: &str, changes: Option<&str>) -> String {
    let mut content = json!({ "msgtype": "m.text", "body": txn_id, "org.odoo.thread": ["opened"] });
    let mut matrix_type = "m.room.message";
    if let Some(changes) = changes {
        content["org.odoo.changes"] = changes.into();
        matrix_type = "m.room.redaction";
    }
    let sql =
        "INSERT INTO matrix_outbox (backend_id, event_type, room_id, matrix_type, content, txn_id, res_model, res_id)
        VALUES ($1, $2, $3, $4, $5, $6, 'test.ticket', 7) RETURNING id";
    let client = &office.world.client;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&office.world.backend, &kind, &room, &matrix_type, &content, &txn_id];
    let id = client.query_one(sql, &values).await.unwrap().get(0);
    let sent = office.until_logged(id).await;
    assert_eq!((sent.status.as_str(), &sent.error_code), ("ok", &None), "{sent:?}");
    let sql = "SELECT matrix_event_id FROM matrix_log WHERE outbox_id = $1 AND status = 'ok'";
    client.query_one(sql, &[&id]).await.unwrap().get(0)
}

#[tokio::test]
async fn messages_of_a_record_are_a_thread_and_can_be_removed() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let _worker = office.worker("w1");

    let root = deliver(&office, &room, "opened", "Case 7 created", None).await;
    let second = deliver(&office, &room, "moved", "7 to court", None).await;
    let third = deliver(&office, &room, "moved", "7 closed", None).await;

    let relation = |last: &str| {
        json!({
            "rel_type": "m.thread", "event_id": root, "is_falling_back": true, "m.in_reply_to": { "event_id": last },
        })
    };
    let events = anna.timeline(&room).await.unwrap();
    let relation_of = |id: &str| {
        let event = events.iter().find(|event| event.event_id == id).unwrap();
        assert!(event.kind == "m.room.encrypted" && event.content["ciphertext"].is_string(), "{:?}", event.content);
        event.content["m.relates_to"].clone()
    };
    assert_eq!(relation_of(&root), Value::Null);
    assert_eq!(relation_of(&second), relation(&root));
    assert_eq!(relation_of(&third), relation(&second));
    let contents = reader.contents(&room, STRICT).await;
    assert_eq!(contents[2].as_ref().unwrap()["m.relates_to"], relation(&second));

    deliver(&office, &room, "redaction", "remove it", Some("7 to court")).await;
    let events = anna.timeline(&room).await.unwrap();
    let removed = events.iter().find(|event| event.event_id == second).unwrap();
    assert_eq!(removed.content, json!({}), "the homeserver removes the text");
}

#[tokio::test]
async fn odoo_gets_what_answers_changes_or_removes_something() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let odoo = Webhook::start().await.unwrap();
    office.world.follow(&odoo).await;
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let _worker = office.worker("w1");
    let question = deliver(&office, &room, "opened", "Case 7 created", None).await;
    let mut say = async |content: Value, relation: Value| {
        // As clients do it: only outside the encrypted text.
        let (keys, encrypted) = reader.encrypt(&room, &content).await;
        reader.give_keys(&keys).await;
        let mut encrypted: Value = serde_json::from_str(&encrypted).unwrap();
        encrypted["m.relates_to"] = relation;
        send_encrypted(&homeserver(&office.synapse, &anna), &room, encrypted.to_string()).await;
        anna.timeline(&room).await.unwrap().pop().unwrap().event_id
    };

    let in_reply_to = json!({ "m.in_reply_to": { "event_id": question } });
    let answer = say(json!({ "msgtype": "m.text", "body": "Yes" }), in_reply_to.clone()).await;
    let replaces = json!({ "rel_type": "m.replace", "event_id": answer });
    let new = json!({ "msgtype": "m.text", "body": "No" });
    say(json!({ "msgtype": "m.text", "body": "* No", "m.new_content": new }), replaces.clone()).await;
    let tick = anna.react(&room, &question, "✅").await.unwrap();
    // What is removed before it was read is not there to be read.
    odoo.until_events(3).await;
    let redaction = anna.redact(&room, &answer).await.unwrap();
    odoo.until_events(4).await;

    let events = odoo.events();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["m.room.message", "m.room.message", "m.reaction", "m.room.redaction"]);
    assert_eq!(events[0]["content"]["m.relates_to"], in_reply_to);
    assert_eq!((&events[1]["content"]["m.relates_to"], &events[1]["content"]["m.new_content"]), (&replaces, &new));
    assert_eq!((events[2]["event_id"].as_str(), events[3]["event_id"].as_str()), (Some(&*tick), Some(&*redaction)));
    assert!(events[3].to_string().contains(&answer), "{}", events[3]);
}
