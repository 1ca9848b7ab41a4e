//! Files between Odoo and a room, on real parts.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use stack::office::Office;
use stack::process::Signal;
use stack::relay::Relay;
use stack::synapse::Event;
use stack::{files, postgres, story};

const PICTURE: &[u8] = include_bytes!("../odoo_addon/mail_matrix/static/description/icon.png");

/// Posts a message with files in the chatter of a case.
async fn post(office: &Office, case: i64, text: &str, files: &[(&str, &[u8])]) {
    let mut ids = Vec::new();
    for (name, bytes) in files {
        let values = json!({"name": name, "datas": files::base64(bytes)});
        ids.push(office.admin.create("ir.attachment", values).await.unwrap());
    }
    let values = json!({
        "body": text, "message_type": "comment", "subtype_xmlid": "mail.mt_comment", "attachment_ids": ids,
    });
    office.admin.execute_kw("legal.case", "message_post", json!([[case]]), values).await.unwrap();
}

fn kinds(events: &[Event]) -> Vec<(&str, &str)> {
    events.iter().map(|event| (event.content["msgtype"].as_str().unwrap_or_default(), event.body())).collect()
}

/// Out: the answer to the upload is lost and so is that to the message; then the worker is killed while Odoo is away. In: from a person
/// in the room, by way of the worker.
#[tokio::test]
async fn files_go_both_ways_byte_for_byte_and_once() {
    let binary = Path::new(env!("CARGO_BIN_EXE_odoo-matrix-worker"));
    let mut office = Office::open(postgres::shared().await, binary).await.unwrap();
    let relay = Relay::start(office.synapse.url()).await.unwrap();
    let url = format!("{}/mail_matrix/files/{}", office.server.url(), office.backend);
    let sends = json!({
        "homeserver_url": relay.url(), "personal_access_token": office.bot.token(), "send_files": true,
    });
    office.admin.write("matrix.backend", office.backend, sends).await.unwrap();
    office.admin.write("matrix.backend", office.backend, json!({"files_url": url})).await.unwrap();
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    office.admin.write("legal.case", case, json!({"matrix_mirror_chatter": true})).await.unwrap();
    story::arrived(&office, &office.room, 1, Duration::from_secs(60)).await.unwrap();
    let (pdf, picture) = (files::pdf(), PICTURE.to_owned());

    relay.lose("PUT /_matrix/media/v3/upload/");
    relay.lose("/send/m.room.message/");
    post(&office, case, "Two files", &[("Vertrag ä.pdf", &pdf), ("photo.png", &picture)]).await;

    let seen = story::arrived(&office, &office.room, 4, Duration::from_secs(60)).await.unwrap();
    assert_eq!(relay.left(), 0, "both answers were lost");
    let text = seen[1].body();
    assert!(text.ends_with(": Two files\n📎 Vertrag ä.pdf\n📎 photo.png"), "{text}");
    assert_eq!(kinds(&seen[2..]), [("m.file", "Vertrag ä.pdf"), ("m.image", "photo.png")]);
    for (event, wanted) in seen[2..].iter().zip([&pdf, &picture]) {
        let got = office.lawyer.download(event.content["url"].as_str().unwrap()).await.unwrap();
        assert!(got == *wanted, "{} of {} bytes came", got.len(), wanted.len());
        assert_eq!(event.content["info"]["size"], json!(wanted.len()));
    }
    let logs = office.logs().await.unwrap();
    let sent = logs.iter().filter(|row| row["status"] == "ok").count();
    assert_eq!(sent, 4, "{logs:?}");

    // Odoo is away while a file waits, and the worker dies meanwhile.
    office.worker.process().stop(Signal::KILL).await.unwrap();
    post(&office, case, "One more", &[("late.pdf", &pdf)]).await;
    office.server.process().stop(Signal::KILL).await.unwrap();
    office.worker = office.launch.start("office").await.unwrap();
    until(&office, "SELECT EXISTS (SELECT FROM matrix_log WHERE error_code = 'org.odoo.file' AND NOT is_final)").await;
    office.worker.process().stop(Signal::KILL).await.unwrap();
    office.server = office.site.serve_again(&office.server).await.unwrap();
    office.worker = office.launch.start("office").await.unwrap();

    let seen = story::arrived(&office, &office.room, 6, Duration::from_secs(120)).await.unwrap();
    assert_eq!(kinds(&seen)[5], ("m.file", "late.pdf"));
    let got = office.lawyer.download(seen[5].content["url"].as_str().unwrap()).await.unwrap();
    assert!(got == pdf);

    files_come_in(&office, case).await;
}

async fn files_come_in(office: &Office, case: i64) {
    let url = format!("{}/mail_matrix/inbound/{}", office.server.url(), office.backend);
    let asks = json!({"inbound_mode": "follow", "inbound_url": url});
    office.admin.write("matrix.backend", office.backend, asks).await.unwrap();
    until(office, "SELECT count(*) = 1 FROM matrix_follower WHERE since IS NOT NULL AND state = 'following'").await;
    let two = files::two();

    files::send(office, &two).await.unwrap();
    until(office, "SELECT count(*) = 2 FROM matrix_inbound WHERE file_state IN ('waiting', 'attached')").await;

    files::check_attached(office, case, &two).await.unwrap();
}

/// Looks at the database until `sql`, which gives one boolean, says true.
async fn until(office: &Office, sql: &str) {
    let database = office.site.database().connect().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !database.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "{sql}\n{}", office.worker.process().tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
