//! `history` answers what happened, and shows nobody's text.

use serde_json::Value;
use stack::{homeserver::Fault, world::World};

use crate::BINARY;

const ROOM: &str = "!case:double.test";

async fn history(world: &World, arguments: &[&str]) -> Value {
    let output = world.command(&[&["history", "--json"], arguments].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_message_is_followed_from_its_first_failure_to_its_arrival() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_next(2, Fault::Refuse { status: 503, errcode: "M_UNKNOWN" });
    let id = world.enqueue(ROOM, "privileged and confidential").await;
    let other = world.enqueue("!other:double.test", "privileged and confidential").await;

    let waiting = history(&world, &[&id.to_string()]).await;
    let _worker = world.worker("w1");
    world.assert_settled(&[id, other]).await;
    let shown = history(&world, &[&id.to_string()]).await;

    assert_eq!(waiting["events"][0]["state"], "waiting");
    let states: Vec<_> = shown["events"].as_array().unwrap().iter().map(|event| event["state"].clone()).collect();
    assert_eq!(states.first(), Some(&Value::from("ok")), "{shown}");
    assert!(states[1..].iter().all(|state| state == "held"), "{shown}");
    assert_eq!(shown["events"][0]["worker"], "w1");
    assert!(shown["events"][0]["matrix_event_id"].as_str().unwrap().starts_with('$'), "{shown}");
    assert!(!shown.to_string().contains("confidential"), "{shown}");
}

#[tokio::test]
async fn it_can_be_asked_by_room_record_and_time_and_says_when_there_is_more() {
    let world = World::new(BINARY).await;
    let ids = world.enqueue_many(&[ROOM, "!other:double.test"], "message", 3).await;
    world
        .client
        .batch_execute("UPDATE matrix_outbox SET res_model = 'legal.case', res_id = 42 WHERE room_id LIKE '!o%'")
        .await
        .unwrap();
    let _worker = world.worker("w1");
    world.assert_settled(&ids).await;
    world
        .client
        .batch_execute("UPDATE matrix_log SET date = date - interval '2 days' WHERE room_id LIKE '!o%'")
        .await
        .unwrap();
    let count = async |arguments: &[&str]| history(&world, arguments).await["events"].as_array().unwrap().len();

    assert_eq!(count(&["--room", ROOM]).await, 3);
    assert_eq!(count(&["--record", "legal.case,42"]).await, 3);
    assert_eq!(count(&["--since", "1d"]).await, 3);
    assert_eq!(count(&["--failed"]).await, 0);
    assert_eq!(history(&world, &["--limit", "2"]).await["is_cut"], true);
    let text = world.command(&["history", "--room", "!nowhere:double.test"]).await;
    assert!(String::from_utf8_lossy(&text.stdout).contains("Nothing"));
}

/// The log of years has no index on rooms, people and messages: a question must not read all of it in one statement.
#[tokio::test]
async fn a_question_reads_a_bounded_part_of_a_long_log() {
    let world = World::new(BINARY).await;
    let rows = 1_100_000;
    world
        .client
        .batch_execute(&format!(
            "ALTER TABLE matrix_log SET (autovacuum_enabled = false);
             INSERT INTO matrix_log (date, queued_at, backend_id, outbox_id, status, room_id, res_model, res_id)
             SELECT at, at, 1, n, CASE WHEN n % 100000 = 0 THEN 'failed' ELSE 'ok' END, '!room' || n % 1000 || ':x', 'legal.case', n % 100000
             FROM (
                 SELECT n, now() AT TIME ZONE 'UTC' - ({rows} - n) * interval '10 s' AS at FROM generate_series(1, {rows}) AS n
             ) AS logged"
        ))
        .await
        .unwrap();
    let newest = rows.to_string();

    for (question, most_read, events, is_searched) in [
        (&[newest.as_str()][..], 40_100, 1, true),
        (&["--room", "!room7:x"], 60_200, 50, true),
        (&["--room", "!nowhere:x"], 1_000_000, 0, false),
        (&["--room", "!nowhere:x", "--since", "7d"], 100_100, 0, true),
        (&["--record", "legal.case,7"], 100, 11, true),
        (&["--failed", "--since", "20d"], 100, 2, true),
        (&[], 20_200, 50, true),
    ] {
        world.client.batch_execute("SELECT pg_stat_reset()").await.unwrap();
        let shown = history(&world, question).await;
        // A session counts what it read at intervals, and for the last time just before it is gone.
        world
            .until(
                "SELECT NOT EXISTS (
                    SELECT FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'odoo-matrix-worker%'
                )",
            )
            .await;
        let read = "FROM pg_stat_user_tables WHERE relname = 'matrix_log'";
        let row = world.client.query_one(&format!("SELECT seq_scan, idx_tup_fetch {read}"), &[]).await.unwrap();
        let (scans, fetched): (i64, i64) = (row.get(0), row.get(1));

        assert_eq!(scans, 0, "{question:?} reads the whole log");
        assert!(fetched <= most_read, "{question:?} reads {fetched} rows");
        assert_eq!(shown["events"].as_array().unwrap().len(), events, "{question:?}");
        assert_eq!(shown["searched_back_to"].is_null(), is_searched, "{question:?}");
    }
    let text = world.command(&["history", "--room", "!nowhere:x"]).await;
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("Searched back to") && text.contains("--since"), "{text}");
}
