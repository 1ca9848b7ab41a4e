//! `lanes`: who waits, and why.

use serde_json::Value;
use stack::{
    homeserver::Fault,
    world::{World, kill},
};

use crate::BINARY;

async fn lanes(world: &World, arguments: &[&str]) -> Value {
    let output = world.command(&[&["lanes", "--json"], arguments].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_held_up_lane_is_listed_first_with_its_attempts_and_error() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_always(Fault::Refuse { status: 503, errcode: "M_UNKNOWN" });
    let held = world.enqueue("!held:double.test", "held").await;
    let _worker = world.worker("w1");
    world.until("SELECT EXISTS (SELECT FROM matrix_lane WHERE head_id IS NOT NULL AND lease_until IS NULL)").await;
    world.enqueue_many(&["!a:double.test"], "message", 3).await;

    let report = lanes(&world, &[]).await;
    let output = world.command(&["lanes"]).await;

    let first = &report["lanes"][0];
    assert_eq!(first["lane"], format!("{}/!held:double.test", world.backend));
    assert_eq!((first["head_id"].as_i64(), first["attempts"].as_i64()), (Some(held), Some(2)));
    assert!(first["last_error"].as_str().unwrap().contains("HTTP 503"), "{first}");
    assert_eq!(first["owner"], Value::Null);
    let second = &report["lanes"][1];
    assert_eq!((second["waiting"].as_i64(), second["attempts"].as_i64()), (Some(3), Some(0)));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("!held:double.test") && text.contains("HTTP 503"), "{text}");
}

#[tokio::test]
async fn a_leased_lane_shows_who_sends_and_how_long_the_lease_holds() {
    let world = World::new(BINARY).await;
    world.homeserver.hold_answers();
    let _worker = world.worker_with("w1", &[("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")]);
    world.enqueue("!a:double.test", "in flight").await;
    world.homeserver.until_events(1).await;

    let report = lanes(&world, &[]).await;

    let lane = &report["lanes"][0];
    assert!(lane["owner"].as_str().unwrap().starts_with("w1/"), "{lane}");
    let left = lane["lease_seconds"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 30.0, "{lane}");
    world.homeserver.release();
}

#[tokio::test]
async fn the_list_is_bounded_says_so_and_can_be_narrowed() {
    let world = World::new(BINARY).await;
    let other = world.add_backend("http://127.0.0.1:1", "plain:x").await;
    let rooms: Vec<_> = (0..5).map(|n| format!("!{n}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    world.enqueue_many(&rooms, "message", 1).await;

    let cut = lanes(&world, &["--limit", "3"]).await;
    let none = lanes(&world, &["--backend", &other.to_string()]).await;

    assert_eq!((cut["lanes"].as_array().unwrap().len(), &cut["is_cut"]), (3, &Value::Bool(true)));
    assert_eq!((none["lanes"].as_array().unwrap().len(), &none["is_cut"]), (0, &Value::Bool(false)));
    let output = world.command(&["lanes", "--limit", "0"]).await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("1..=1000"));
}

/// A failed message that was discarded leaves its error on the lane until the next lease, and such a lane is not in trouble.
#[tokio::test]
async fn a_blocked_lane_is_found_beyond_the_limit_of_others() {
    let world = World::new(BINARY).await;
    let rooms: Vec<_> = (0..5).map(|n| format!("!{n}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let discarded = world.enqueue_many(&rooms, "discarded", 1).await;
    world.enqueue_many(&rooms, "next", 1).await;
    let held = world.enqueue("!z:double.test", "held").await;
    world
        .client
        .batch_execute(
            "INSERT INTO matrix_lane (lane, head_id, attempts, last_error, first_failed_at)
             SELECT DISTINCT ON (lane) lane, id, 2, 'HTTP 503', now() AT TIME ZONE 'UTC' FROM matrix_outbox ORDER BY lane, id",
        )
        .await
        .unwrap();
    world.client.execute("DELETE FROM matrix_outbox WHERE id = ANY ($1)", &[&discarded]).await.unwrap();

    let blocked = lanes(&world, &["--blocked", "--limit", "3"]).await;
    let all = lanes(&world, &["--limit", "3"]).await;

    let found: Vec<_> = blocked["lanes"].as_array().unwrap().iter().map(|lane| lane["head_id"].as_i64()).collect();
    assert_eq!((found, &blocked["is_cut"]), (vec![Some(held)], &Value::Bool(false)), "{blocked}");
    assert_eq!((all["lanes"][0]["head_id"].as_i64(), &all["is_cut"]), (Some(held), &Value::Bool(true)), "{all}");
    assert_eq!(all["lanes"][1]["last_error"], Value::Null, "{all}");
}

/// A transaction that was open for long commits a message with a lower number behind the one that has failed.
#[tokio::test]
async fn a_lane_stays_in_trouble_when_an_earlier_message_comes_late() {
    let world = World::new(BINARY).await;
    let late = world.database.connect().await.unwrap();
    late.batch_execute("BEGIN").await.unwrap();
    let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
        VALUES ($1, 'manual', '!a:double.test', '{\"body\": \"late\"}', 'late')";
    late.execute(sql, &[&world.backend]).await.unwrap();
    world.homeserver.fail_always(Fault::Refuse { status: 503, errcode: "M_UNKNOWN" });
    let held = world.enqueue("!a:double.test", "held").await;
    let worker = world.worker("w1");
    world.until("SELECT EXISTS (SELECT FROM matrix_lane WHERE head_id IS NOT NULL AND lease_until IS NULL)").await;
    kill(&worker).await;
    late.batch_execute("COMMIT").await.unwrap();

    let blocked = lanes(&world, &["--blocked"]).await;

    let lane = &blocked["lanes"][0];
    assert_eq!((lane["head_id"].as_i64(), lane["waiting"].as_i64()), (Some(held), Some(2)), "{blocked}");
}
