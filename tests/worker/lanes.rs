//! `lanes`: who waits, and why.

use serde_json::Value;
use stack::{homeserver::Fault, world::World};

use crate::BINARY;

async fn lanes(world: &World, arguments: &[&str]) -> Value {
    let output = world.command(&[&["lanes", "--json"], arguments].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_held_lane_stands_first_with_its_attempts_and_error() {
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
