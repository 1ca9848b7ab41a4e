//! How long a message takes on the whole path.

use std::{io::Write, time::Instant};

use serde_json::json;

use crate::open_office;

/// Not asserted: it is the homeserver's time for the most part.
#[tokio::test]
async fn the_time_from_commit_to_arrival_is_measured() {
    const EVENTS: usize = 40;
    let office = open_office().await;
    let caretaker = office.synapse.register("caretaker", "let me in", true).await.unwrap();
    office.synapse.exempt(&caretaker, &office.bot).await.unwrap();
    let backend = i32::try_from(office.backend).unwrap();
    let database = office.site.database().connect().await.unwrap();
    let insert = "INSERT INTO matrix_outbox (backend_id, room_id, event_type, content, txn_id) VALUES ($1, $2, 'manual', $3, $4)";
    let (_, mut since) = office.lawyer.sync(&office.room, "").await.unwrap();
    let mut times = Vec::new();

    for number in 0..EVENTS {
        let content = json!({"msgtype": "m.text", "body": format!("Event {number}")});
        let began = Instant::now();
        database.execute(insert, &[&backend, &office.room, &content, &format!("timed-{number}")]).await.unwrap();
        loop {
            let (events, next) = office.lawyer.sync(&office.room, &since).await.unwrap();
            since = next;
            if events.iter().any(|event| event.content == content) {
                break;
            }
        }
        times.push(began.elapsed());
    }

    times.sort();
    let (median, slow) = (times[EVENTS / 2], times[EVENTS * 95 / 100]);
    let figure = format!("commit → seen in Synapse: median {median:.1?}, 95 % {slow:.1?} (of {EVENTS} single events)");
    // Bypasses the capture of the test harness: the figure is for people to read.
    writeln!(std::io::stderr(), "{figure}").unwrap();
}
