//! A copy of the database, made as Odoo and administrators make one, with messages that wait in it.

use std::path::Path;

use odoo_matrix_worker::store::{newest, schema};
use stack::{
    homeserver::{Homeserver, TOKEN},
    postgres::shared,
    worker::Launch,
};

use crate::BINARY;

const SETUP: &str = "INSERT INTO matrix_backend (name, homeserver_url, token_sealed) VALUES ('Office', $1, $2)";
const ENQUEUE: &str = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
    SELECT id, 'manual', '!case:double.test', '{\"msgtype\": \"m.text\", \"body\": \"waits\"}', 'odoo-1' FROM matrix_backend";

#[tokio::test]
async fn a_copied_database_sends_nothing_and_says_why_until_it_is_used_on_purpose() {
    let postgres = shared().await;
    let homeserver = Homeserver::start().await.unwrap();
    let mut original = postgres.database("original").await;
    {
        let client = original.connect().await.unwrap();
        client.batch_execute(&schema(newest())).await.unwrap();
        client.execute(SETUP, &[&homeserver.url(), &format!("plain:{TOKEN}")]).await.unwrap();
        client.execute(ENQUEUE, &[]).await.unwrap();
    }
    let mut copy = loop {
        // The session above may still be ending on the server.
        if let Ok(copy) = postgres.create_database("copy", Some(original.name()), &postgres.server().role).await {
            break copy;
        }
    };
    let launch = Launch::prepare(Path::new(BINARY), &mut copy).await.unwrap();

    for command in ["check", "drain"] {
        let (code, text) = run(&launch, command).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("set up in another database") && text.contains("Use It Here"), "{command}: {text}");
    }
    assert_eq!(homeserver.requests().len(), 0, "the copy has called the homeserver");
    let client = copy.connect().await.unwrap();
    let waits = client.query_one("SELECT count(*) FROM matrix_outbox", &[]).await.unwrap();
    assert_eq!(waits.get::<_, i64>(0), 1);

    client.batch_execute("UPDATE matrix_backend SET database_identity = matrix_database_identity()").await.unwrap();
    let (code, text) = run(&launch, "drain").await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(homeserver.bodies("!case:double.test"), ["waits"]);

    let launch = Launch::prepare(Path::new(BINARY), &mut original).await.unwrap();
    let (code, text) = run(&launch, "check").await;
    assert_eq!(code, Some(0), "the original goes on: {text}");
}

async fn run(launch: &Launch, command: &str) -> (Option<i32>, String) {
    let output = tokio::process::Command::from(launch.command(&[command])).output().await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}
