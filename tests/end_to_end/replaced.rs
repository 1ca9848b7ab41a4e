//! A backend that is replaced while messages wait in it.

use std::time::{Duration, Instant};

use serde_json::json;
use stack::story;

use crate::{bodies, open_office};

/// The answer to the first message was lost, so it is in the room and in the outbox. Two people press the button while
/// others go on working.
#[tokio::test]
async fn what_waits_at_a_backend_that_was_replaced_moves_on_once_and_in_order() {
    let office = open_office().await;
    let successor = office.synapse.register("successor", "let me in", false).await.unwrap();
    let caretaker = office.synapse.register("caretaker", "let me in", true).await.unwrap();
    office.synapse.exempt(&caretaker, &successor).await.unwrap();
    office.lawyer.invite(&office.room, &successor).await.unwrap();
    successor.join(&office.room).await.unwrap();
    let new = json!({
        "name": "Successor",
        "homeserver_url": office.synapse.url(),
        "personal_access_token": successor.token(),
        "company_id": false,
        "is_active": false,
    });
    let new = office.admin.create("matrix.backend", new).await.unwrap();
    let database = office.site.database().connect().await.unwrap();
    let long_ago = "UPDATE matrix_backend SET configured_at = configured_at - interval '1 hour'";
    database.execute(long_ago, &[]).await.unwrap();
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    let created = story::arrived(&office, &office.room, 1, Duration::from_secs(60)).await.unwrap().remove(0);
    story::logged(&office, 1, Duration::from_secs(30)).await.unwrap();
    office.admin.write("matrix.backend", office.backend, json!({"is_active": false})).await.unwrap();
    let (backend, record) = (i32::try_from(office.backend).unwrap(), i32::try_from(case).unwrap());
    let insert = "INSERT INTO matrix_outbox (backend_id, room_id, event_type, content, txn_id, res_model, res_id) \
                  VALUES ($1, $2, 'manual', $3, $4, 'legal.case', $5)";
    let lost = created.content["org.odoo.outbox"].as_str().unwrap();
    database.execute(insert, &[&backend, &office.room, &created.content, &lost, &record]).await.unwrap();
    let mut texts = vec![created.body().to_owned()];
    for number in 1..=10 {
        texts.push(format!("Waiting {number}"));
        let txn = format!("waiting-{number}");
        let content = json!({"msgtype": "m.text", "body": texts.last(), "org.odoo.outbox": txn});
        database.execute(insert, &[&backend, &office.room, &content, &txn, &record]).await.unwrap();
    }

    office.admin.write("matrix.backend", new, json!({"is_active": true})).await.unwrap();
    let press = || office.admin.press("matrix.backend", office.backend, "action_move_waiting");
    let work = async {
        for number in 1..=5 {
            office.admin.write("legal.case", case, json!({"matrix_message": format!("New {number}")})).await.unwrap();
            office.admin.press("legal.case", case, "action_matrix_send_message").await.unwrap();
        }
    };
    let (one, other, ()) = tokio::join!(press(), press(), work);

    let said = [one, other].map(|answer| answer.map_or_else(|error| format!("{error:#}"), |said| said.to_string()));
    assert!(said.iter().any(|said| said.contains("Messages moved: 11")), "{said:?}");
    assert!(
        said.iter().any(|said| said.contains("No messages wait") || said.contains("sending to these rooms")),
        "{said:?}"
    );
    let messages = story::arrived(&office, &office.room, 16, Duration::from_secs(90)).await.unwrap();
    let log = office.worker.process().tail();
    let (later, moved): (Vec<_>, Vec<_>) = bodies(&messages).into_iter().partition(|body| body.starts_with("New"));
    assert_eq!(moved, texts, "{log}");
    assert_eq!(later, ["New 1", "New 2", "New 3", "New 4", "New 5"], "{log}");
    let settled =
        "SELECT count(*) FILTER (WHERE status = 'ok'), count(*) FILTER (WHERE status <> 'ok') FROM matrix_log";
    let until_empty = "SELECT count(*) FROM matrix_outbox";
    let deadline = Instant::now() + Duration::from_secs(30);
    while database.query_one(until_empty, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(Instant::now() < deadline, "{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let row = database.query_one(settled, &[]).await.unwrap();
    // The first message has a row of each account.
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (17, 0));
}
