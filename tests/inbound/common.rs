//! What these tests share: an office whose messages come in, and a look at the chatter.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stack::{odoo::Client, office::Office, postgres, report, story};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_odoo-matrix-worker");

/// An office, and a case with its room.
pub(crate) async fn open_office() -> (Office, i64) {
    let office = Office::open(postgres::shared().await, Path::new(BINARY)).await.unwrap();
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    (office, case)
}

/// Lets the worker read messages, and waits until it does.
pub(crate) async fn follow(office: &Office) {
    let url = format!("{}/mail_matrix/inbound/{}", office.server.url(), office.backend);
    let asks = json!({"inbound_mode": "follow", "inbound_url": url});
    office.admin.write("matrix.backend", office.backend, asks).await.unwrap();
    until(office, "SELECT count(*) = 1 FROM matrix_follower WHERE since IS NOT NULL AND state = 'following'").await;
}

/// How many texts are timed: more with SOAK=1.
pub(crate) fn timed() -> usize {
    report::scale(5, 25)
}

/// Records how long texts took from the room to the chatter of a case; the median must be less than two seconds. `by`: who brings them.
pub(crate) fn record_times(office: &Office, by: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    report::record_form(
        &format!("a text in the room becomes a note: {by} (Odoo {})", office.site.series()),
        &format!("real Synapse, {} texts one after the other, nothing ended; median ≤ 2 s", times.len()),
        &format!("after {} ms (median), {} ms at most", median.as_millis(), slowest.as_millis()),
    );
    assert!(median < Duration::from_secs(2), "{times:?}\n{}", office.server.process().tail());
}

pub(crate) fn text(body: &str) -> Value {
    json!({"msgtype": "m.text", "body": body})
}

/// The notes of a case, once there are `count` of them or time is over; oldest first.
pub(crate) async fn notes(admin: &Client, case: i64, count: usize, within: Duration) -> Vec<Value> {
    story::notes(admin, case, count, within).await.unwrap()
}

/// The texts of notes.
pub(crate) fn bodies(notes: &[Value]) -> Vec<&str> {
    notes.iter().map(|note| note["body"].as_str().unwrap_or_default()).collect()
}

/// Looks at the database until `sql`, which gives one boolean, says true.
pub(crate) async fn until(office: &Office, sql: &str) {
    let database = office.site.database().connect().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !database.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "{sql}\n{}", office.worker.process().tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
