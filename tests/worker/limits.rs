//! 429 is no failure: the account pauses, the messages wait.

use stack::{homeserver::Fault, world::World};

use crate::BINARY;

#[tokio::test]
async fn a_limited_account_pauses_and_every_message_arrives_without_a_failed_row() {
    let world = World::new(BINARY).await;
    world.homeserver.limit(5.0, 10);
    let rooms = ["!a:double.test", "!b:double.test", "!c:double.test"];
    let _worker = world.worker("w1");

    let ids = world.enqueue_many(&rooms, "message", 7).await;

    world.assert_settled(&ids).await;
    world.assert_in_order(&rooms, "message", 7);
    let log = world.log().await;
    assert!(log.iter().all(|row| row.status == "ok" && row.attempts == 1), "{log:?}");
}

#[tokio::test]
async fn all_workers_keep_the_pause_that_one_of_them_met() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_next(1, Fault::Limit { retry_after_ms: 1500 });
    let _workers = [world.worker("w1"), world.worker("w2"), world.worker("w3")];
    world.until("SELECT count(*) = 3 FROM matrix_worker").await;

    let first = world.enqueue("!a:double.test", "first").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'rate_limited')").await;
    let second = world.enqueue("!b:double.test", "second").await;

    world.assert_settled(&[first, second]).await;
    let limited_at = world.homeserver.requests()[0].at;
    for event in world.homeserver.events() {
        let waited = event.at.duration_since(limited_at);
        assert!(waited.as_millis() >= 1450, "sent {waited:?} after the 429");
    }
}
