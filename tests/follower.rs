//! What people write in Matrix, on real parts: the worker reads it and passes it on to Odoo.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::office::Office;
use stack::process::Signal;
use stack::{postgres, story};

/// The texts of the notes in the chatter of a case, oldest first, once there are `count` of them.
async fn notes(office: &Office, case: i64, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(90);
    let domain = json!([
        ["model", "=", "legal.case"],
        ["res_id", "=", case],
        ["message_type", "=", "comment"],
        ["subtype_id.internal", "=", true],
    ]);
    loop {
        let found = office.admin.search_read("mail.message", domain.clone(), &["body"], "id").await.unwrap();
        if found.len() >= count || Instant::now() > deadline {
            let body = |note: &Value| note["body"].as_str().unwrap_or_default().to_owned();
            return found.iter().map(body).collect();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The worker follows the account: with nothing set up at the homeserver, and across a kill -9.
#[tokio::test]
async fn what_is_written_in_the_room_of_a_case_appears_in_its_chatter_soon_and_once() {
    let binary = Path::new(env!("CARGO_BIN_EXE_odoo-matrix-worker"));
    let mut office = Office::open(postgres::shared().await, binary).await.unwrap();
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    story::arrived(&office, &office.room, 1, Duration::from_secs(60)).await.unwrap();
    let url = format!("{}/mail_matrix/inbound/{}", office.server.url(), office.backend);
    let asks = json!({"inbound_mode": "follow", "inbound_url": url});
    office.admin.write("matrix.backend", office.backend, asks).await.unwrap();
    let database = office.site.database().connect().await.unwrap();
    let followed = "SELECT count(*) = 1 FROM matrix_follower WHERE since IS NOT NULL AND state = 'following'";
    let deadline = Instant::now() + Duration::from_secs(60);
    while !database.query_one(followed, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "not followed\n{}", office.worker.process().tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut times = Vec::new();

    for number in 1..=4 {
        let began = Instant::now();
        office.lawyer.send(&office.room, &format!("Answer {number}")).await.unwrap();
        let seen = notes(&office, case, number).await;
        assert_eq!(seen.len(), number, "{}", office.worker.process().tail());
        times.push(began.elapsed());
    }
    office.worker.process().stop(Signal::KILL).await.unwrap();
    office.lawyer.send(&office.room, "Answer 5").await.unwrap();
    office.worker = office.launch.start("office").await.unwrap();
    office.lawyer.send(&office.room, "Answer 6").await.unwrap();

    let seen = notes(&office, case, 6).await;
    assert_eq!(seen.len(), 6, "{seen:?}\n{}", office.worker.process().tail());
    for (body, number) in seen.iter().zip(1..) {
        assert!(body.contains(&format!("Answer {number}")), "{seen:?}");
    }
    // What comes in goes out no second time.
    let room = office.lawyer.messages(&office.room).await.unwrap();
    assert_eq!(room.len(), 7, "{room:?}");
    writeln!(std::io::stderr(), "written in the room → note in the chatter: {times:.0?}").unwrap();
    // An Odoo that has just started takes seconds for the first request of a kind.
    let slowest = times[1..].iter().max().unwrap();
    assert!(*slowest < Duration::from_secs(2), "{times:?}\n{}", office.server.process().tail());
}
