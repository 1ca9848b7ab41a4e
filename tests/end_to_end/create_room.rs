//! *Create Room*, clicked again and again; rooms that are created in the background, and an Odoo that is killed meanwhile.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::office::Office;
use stack::process::Signal;
use stack::story;

use crate::open_office;

const WITHIN: Duration = Duration::from_secs(90);

/// The endpoint that makes a room knows no transaction id.
#[tokio::test]
async fn clicking_create_room_again_and_again_creates_one_room() {
    let office = open_office().await;
    let client = office.admin.create("res.partner", json!({"name": "Jane Doe"})).await.unwrap();
    let case = json!({"name": "Doe against Acme", "partner_id": client});
    let rooms = || async { office.bot.rooms().await.unwrap().len() };
    let linked = |case: i64| {
        let find = json!([["id", "=", case]]);
        async { office.admin.search_read("legal.case", find, &["matrix_room_id"], "id").await.unwrap().remove(0) }
    };
    let before = rooms().await;

    let asked = office.admin.create("legal.case", case.clone()).await.unwrap();
    let press = || office.admin.press("legal.case", asked, "action_matrix_create_room");
    let clicks = tokio::join!(press(), press(), press(), press());

    for click in [clicks.0, clicks.1, clicks.2, clicks.3] {
        click.unwrap();
    }
    assert_eq!(rooms().await, before + 1);
    assert!(linked(asked).await["matrix_room_id"].is_string());

    // The room is there, and then the transaction fails.
    let failed = office.admin.create("legal.case", case).await.unwrap();
    let database = office.site.database().connect().await.unwrap();
    let refuse = "ALTER TABLE legal_case ADD CONSTRAINT refuse CHECK (matrix_room_id IS NULL) NOT VALID";
    database.batch_execute(refuse).await.unwrap();
    office.admin.press("legal.case", failed, "action_matrix_create_room").await.expect_err("the link is refused");
    assert_eq!(rooms().await, before + 2);
    database.batch_execute("ALTER TABLE legal_case DROP CONSTRAINT refuse").await.unwrap();

    office.admin.press("legal.case", failed, "action_matrix_create_room").await.unwrap();

    assert_eq!(rooms().await, before + 2);
    assert!(linked(failed).await["matrix_room_id"].is_string());
}

/// What the scheduled action waits for while a row is locked: it has created the room, or is about to queue the messages.
const POINTS: [&str; 2] = [
    "SELECT FROM matrix_room_request ORDER BY id LIMIT 1 FOR UPDATE",
    "SELECT FROM matrix_early_message ORDER BY id LIMIT 1 FOR UPDATE",
];
const CRON: &str = "Matrix: create rooms";

#[tokio::test]
async fn odoo_that_is_killed_while_it_creates_a_room_leaves_one_room_and_the_messages_in_order() {
    let mut office = open_office().await;
    office.admin.write("matrix.backend", office.backend, json!({"create_rooms": true})).await.unwrap();
    let before = office.bot.rooms().await.unwrap();
    let case = office.open_case("Doe against Acme", "Jane Doe", "").await.unwrap();
    for text in ["First", "Second"] {
        office.admin.write("legal.case", case, json!({"matrix_message": text})).await.unwrap();
        office.admin.press("legal.case", case, "action_matrix_send_message").await.unwrap();
    }

    for point in POINTS {
        kill_at(&mut office, point).await;
    }
    let created: Vec<_> = office.bot.rooms().await.unwrap().into_iter().filter(|room| !before.contains(room)).collect();
    let [room] = created.as_slice() else { panic!("one room: {created:?}") };
    assert_ne!(linked_room(&office, case).await, json!(room), "the link was not committed");
    while linked_room(&office, case).await != json!(room) {
        run_cron(&office).await.unwrap();
    }

    let logs = story::logged(&office, 3, WITHIN).await.unwrap();
    assert!(logs.iter().all(|row| row["status"] == "ok"), "{logs:?}\n{}", office.worker.process().tail());
    let messages = office.bot.messages(room).await.unwrap();
    let texts: Vec<_> = messages.iter().map(|event| event.body().lines().next().unwrap_or_default()).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].starts_with("Case Doe against Acme"), "the room opens with the summary: {texts:?}");
    assert!(texts[1].ends_with("First") && texts[2].ends_with("Second"), "{texts:?}");
    assert_eq!(office.bot.rooms().await.unwrap().len(), before.len() + 1);
}

/// Kills Odoo when its scheduled action waits for the row that `lock` locks, and starts it again.
async fn kill_at(office: &mut Office, lock: &str) {
    let mut database = office.site.database().connect().await.unwrap();
    let watcher = office.site.database().connect().await.unwrap();
    let transaction = database.transaction().await.unwrap();
    transaction.execute(lock, &[]).await.unwrap();
    let is_waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%matrix_%')";
    let deadline = Instant::now() + WITHIN;
    let waits = async {
        while !watcher.query_one(is_waiting, &[]).await.unwrap().get::<_, bool>(0) {
            assert!(Instant::now() < deadline, "nothing waits for {lock}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let runs = async {
        // Each run does one step.
        while run_cron(office).await.is_ok() {}
    };
    tokio::select! {
        () = waits => {}
        () = runs => panic!("the scheduled action failed before it waited for {lock}"),
    }
    office.server.process().stop(Signal::KILL).await.unwrap();
    transaction.rollback().await.unwrap();
    office.server = office.site.serve_again(&office.server).await.unwrap();
}

async fn run_cron(office: &Office) -> anyhow::Result<()> {
    let domain = json!([["cron_name", "=", CRON]]);
    let crons = office.admin.search_read("ir.cron", domain, &["id"], "id").await?;
    let cron = crons[0]["id"].as_i64().unwrap();
    office.admin.press("ir.cron", cron, "method_direct_trigger").await.map(drop)
}

async fn linked_room(office: &Office, case: i64) -> Value {
    let find = json!([["id", "=", case]]);
    office.admin.search_read("legal.case", find, &["matrix_room_id"], "id").await.unwrap().remove(0)["matrix_room_id"]
        .take()
}
