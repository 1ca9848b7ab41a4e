//! A homeserver that forgets which transactions it has seen.

use stack::{
    report, schedule,
    world::{World, kill},
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";

/// What is lost is the answer, not the message: only what was in flight may appear twice, and the log has it once.
#[tokio::test]
async fn only_a_message_whose_answer_was_lost_can_appear_twice() {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    let before = world.enqueue_many(&[ROOM], "before", 5).await;
    let worker = world.worker("w1");
    world.assert_settled(&before).await;
    world.homeserver.forget_transactions();
    let ids = world.enqueue_many(&[ROOM], "later", 5).await;
    world.until_empty().await;

    world.homeserver.hold_answers();
    let lost = world.enqueue_many(&[ROOM], "lost", 3).await;
    world.homeserver.until_events(11).await;
    kill(&worker).await;
    world.homeserver.forget_transactions();
    world.homeserver.release();
    let _successor = world.worker("w1");
    world.until_empty().await;

    let wanted: Vec<_> = (1..=5).map(|n| format!("before {n}")).chain((1..=5).map(|n| format!("later {n}"))).collect();
    let bodies = world.homeserver.bodies(ROOM);
    assert_eq!(bodies[..10], wanted);
    assert_eq!(bodies[10..], ["lost 1", "lost 1", "lost 2", "lost 3"]);
    let log = world.log().await;
    for id in before.iter().chain(&ids).chain(&lost) {
        assert_eq!(log.iter().filter(|row| row.outbox_id == *id).count(), 1, "log rows of {id}");
    }
    report::record(
        "homeserver forgets its transaction cache",
        "all at once, with one answer lost; duplicates only of what was in flight",
        "1 of 13 messages appears twice, each has 1 log row",
    );
}

#[tokio::test]
async fn check_warns_of_a_token_that_belongs_to_no_device() {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    world.homeserver.forget_device();

    let output = world.command(&["check"]).await;

    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("warning") && text.contains("no device id") && text.contains("twice"), "{text}");
    report::record("token without device id", "`check` warns", "warned");
}
