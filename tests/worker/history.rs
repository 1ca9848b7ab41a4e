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
async fn a_message_is_told_from_its_first_failure_to_its_arrival() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_next(2, Fault::Refuse { status: 503, errcode: "M_UNKNOWN" });
    let id = world.enqueue(ROOM, "privileged and confidential").await;
    let other = world.enqueue("!other:double.test", "privileged and confidential").await;

    let waiting = history(&world, &[&id.to_string()]).await;
    let _worker = world.worker("w1");
    world.assert_settled(&[id, other]).await;
    let told = history(&world, &[&id.to_string()]).await;

    assert_eq!(waiting["events"][0]["state"], "waiting");
    let states: Vec<_> = told["events"].as_array().unwrap().iter().map(|event| event["state"].clone()).collect();
    assert_eq!(states.first(), Some(&Value::from("ok")), "{told}");
    assert!(states[1..].iter().all(|state| state == "held"), "{told}");
    assert_eq!(told["events"][0]["worker"], "w1");
    assert!(told["events"][0]["matrix_event_id"].as_str().unwrap().starts_with('$'), "{told}");
    assert!(!told.to_string().contains("confidential"), "{told}");
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
