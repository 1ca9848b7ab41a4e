//! What people write in Matrix, on real parts: Synapse sends it to Odoo as to an application service.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::office::Office;
use stack::postgres;
use stack::process::Signal;

/// An office whose homeserver sends messages to Odoo, and a case with the room.
async fn open_office() -> (Office, i64) {
    let binary = Path::new(env!("CARGO_BIN_EXE_odoo-matrix-worker"));
    let mut office = Office::open(postgres::shared().await, binary).await.unwrap();
    office.admin.write("matrix.backend", office.backend, json!({"inbound_mode": "appservice"})).await.unwrap();
    let url = format!("{}/mail_matrix/appservice/{}", office.server.url(), office.backend);
    office.admin.write("matrix.backend", office.backend, json!({"inbound_url": url})).await.unwrap();
    let action = office.admin.press("matrix.backend", office.backend, "action_download_registration").await.unwrap();
    let registration = office.admin.download("admin", action["url"].as_str().unwrap()).await.unwrap();
    office.synapse.load_app_service(&registration).await.unwrap();
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    (office, case)
}

fn text(body: &str) -> Value {
    json!({"msgtype": "m.text", "body": body})
}

/// The notes of a case, once there are `count` of them or time is over; oldest first.
async fn notes(office: &Office, case: i64, count: usize, within: Duration) -> Vec<Value> {
    let deadline = Instant::now() + within;
    let domain = json!([
        ["model", "=", "legal.case"],
        ["res_id", "=", case],
        ["message_type", "=", "comment"],
        ["subtype_id.internal", "=", true],
    ]);
    loop {
        let fields = ["body", "author_id", "parent_id"];
        let found = office.admin.search_read("mail.message", domain.clone(), &fields, "id").await;
        match found {
            Ok(found) if found.len() >= count || Instant::now() > deadline => return found,
            Err(error) if Instant::now() > deadline => panic!("{error:#}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test]
async fn what_is_written_in_the_room_appears_in_the_chatter_once_and_soon() {
    let (office, case) = open_office().await;
    let lawyer = json!([["login", "=", "admin"]]);
    let admin = office.admin.search_read("res.users", lawyer, &["partner_id"], "id").await.unwrap();
    let user = admin[0]["id"].as_i64().unwrap();
    office.admin.write("res.users", user, json!({"matrix_user_id": office.lawyer.id()})).await.unwrap();
    let mut times = Vec::new();

    let mut last = String::new();
    for number in 1..=5 {
        let began = Instant::now();
        last = office.lawyer.say(&office.room, &text(&format!("Message {number}"))).await.unwrap();
        let seen = notes(&office, case, number, Duration::from_secs(30)).await;
        assert_eq!(seen.len(), number, "{}\n{}", office.server.process().tail(), office.synapse.process().tail());
        times.push(began.elapsed());
    }
    let answer = json!({"msgtype": "m.text", "body": "Sixth", "m.relates_to": {"m.in_reply_to": {"event_id": last}}});
    office.lawyer.say(&office.room, &answer).await.unwrap();
    let edit = json!({
        "msgtype": "m.text", "body": "* Changed", "m.new_content": text("Changed"),
        "m.relates_to": {"rel_type": "m.replace", "event_id": last},
    });
    office.lawyer.say(&office.room, &edit).await.unwrap();
    // What Odoo itself sends comes back the same way, and is ignored.
    office.admin.press("legal.case", case, "action_matrix_send_test").await.unwrap();
    office.lawyer.say(&office.room, &text("Last")).await.unwrap();

    let seen = notes(&office, case, 7, Duration::from_secs(30)).await;

    let bodies: Vec<_> = seen.iter().map(|note| note["body"].as_str().unwrap()).collect();
    assert_eq!(seen.len(), 7, "{bodies:?}");
    assert!(bodies[0].contains("Message 1") && bodies[6].contains("Last"), "{bodies:?}");
    assert!(bodies[4].contains("Changed"), "{bodies:?}");
    assert_eq!(seen[5]["parent_id"][0], seen[4]["id"]);
    assert!(seen.iter().all(|note| note["author_id"] == admin[0]["partner_id"]), "{seen:?}");
    times.sort();
    writeln!(std::io::stderr(), "said in the room → note in the chatter: {times:.0?}").unwrap();
    assert!(times[times.len() / 2] < Duration::from_secs(2), "{times:?}");
}

#[tokio::test]
async fn what_is_written_while_odoo_is_killed_comes_in_once_and_in_order() {
    // A burst of ten is what Synapse takes at once.
    const MESSAGES: usize = 9;
    let (mut office, case) = open_office().await;

    for number in 1..=MESSAGES {
        office.lawyer.say(&office.room, &text(&format!("Message {number:02}"))).await.unwrap();
        if number % 3 == 0 {
            office.server.process().stop(Signal::KILL).await.unwrap();
            office.server = office.site.serve_again(&office.server).await.unwrap();
        }
    }

    // Synapse tries again after 2, 4, 8 … seconds.
    let seen = notes(&office, case, MESSAGES, Duration::from_secs(180)).await;
    let bodies: Vec<_> = seen.iter().map(|note| note["body"].as_str().unwrap().to_owned()).collect();
    assert_eq!(seen.len(), MESSAGES, "{bodies:?}");
    for (body, number) in bodies.iter().zip(1..) {
        assert!(body.contains(&format!("Message {number:02}")), "{bodies:?}");
    }
    assert!(bodies[0].contains(office.lawyer.id()), "a stranger is named: {bodies:?}");
}
