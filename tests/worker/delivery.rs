//! One message at a time: sent, retried, failed, and the next one after it.

use std::time::Duration;

use stack::{
    homeserver::Fault,
    process::Signal,
    proxy::{Harm, Proxy},
    world::{World, kill},
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";

#[tokio::test]
async fn a_message_arrives_and_leaves_one_ok_row() {
    let world = World::new(BINARY).await;
    let _worker = world.worker("w1");

    let id = world.enqueue(ROOM, "Hello from Odoo").await;

    world.assert_settled(&[id]).await;
    let log = world.log().await;
    assert_eq!((log[0].status.as_str(), log[0].attempts, log[0].body.as_str()), ("ok", 1, "Hello from Odoo"));
    assert_eq!(log[0].event_id.as_deref(), Some(world.homeserver.events()[0].id.as_str()));
    assert_eq!(world.homeserver.events()[0].content["msgtype"], "m.text");
}

#[tokio::test]
async fn a_homeserver_error_is_retried_once_under_the_same_transaction_id() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_next(1, Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    let _worker = world.worker("w1");

    let id = world.enqueue(ROOM, "one").await;

    world.assert_settled(&[id]).await;
    let log = world.log().await;
    assert_eq!((log.len(), log[0].status.as_str(), log[0].attempts), (1, "ok", 2));
    let sends = world.homeserver.requests().into_iter().filter(|request| request.is_send()).map(|request| request.path);
    assert_eq!(sends.collect::<std::collections::HashSet<_>>().len(), 1);
}

/// A message that waits for its retry holds back its own room, or the room would read out of order.
#[tokio::test]
async fn a_retry_holds_back_its_own_lane() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_room(ROOM, 1, Fault::Refuse { status: 502, errcode: "M_UNKNOWN" });

    let ids = world.enqueue_many(&[ROOM], "message", 3).await;
    let _worker = world.worker("w1");

    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM], "message", 3);
}

#[tokio::test]
async fn a_message_that_is_at_fault_fails_for_good_and_the_next_one_goes_out() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_room(ROOM, 1, Fault::Refuse { status: 400, errcode: "M_BAD_JSON" });

    let bad = world.enqueue(ROOM, "bad").await;
    let good = world.enqueue(ROOM, "good").await;
    let _worker = world.worker("w1");

    world.assert_settled(&[bad, good]).await;
    let log = world.log().await;
    assert_eq!((log[0].outbox_id, log[0].status.as_str(), log[0].is_final, log[0].attempts), (bad, "failed", true, 1));
    assert_eq!(log[0].error_code.as_deref(), Some("M_BAD_JSON"));
    assert_eq!(world.homeserver.bodies(ROOM), ["good"]);
}

#[tokio::test]
async fn an_answer_that_was_lost_after_the_message_was_taken_makes_no_second_message() {
    for fault in [Fault::ResetAccepted, Fault::CutAccepted, Fault::SilenceAccepted] {
        let world = World::new(BINARY).await;
        world.homeserver.fail_next(1, fault.clone());
        let _worker = world.worker("w1");

        let id = world.enqueue(ROOM, "once").await;

        world.assert_settled(&[id]).await;
        assert_eq!(world.homeserver.bodies(ROOM), ["once"], "{fault:?}");
        assert_eq!(world.log().await[0].attempts, 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_worker_that_dies_between_the_answer_and_the_log_leaves_one_message_and_one_row() {
    let world = World::new(BINARY).await;
    world.homeserver.hold_answers();
    let worker = world.worker("w1");
    let ids = world.enqueue_many(&[ROOM], "message", 3).await;
    world.homeserver.until_events(1).await;

    kill(&worker).await;
    world.homeserver.release();
    let _successor = world.worker("w2");

    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM], "message", 3);
}

#[tokio::test]
async fn an_expired_message_is_logged_and_not_sent() {
    let world = World::new(BINARY).await;
    let id = world.enqueue(ROOM, "reminder").await;
    let past = "UPDATE matrix_outbox SET expires_at = now() AT TIME ZONE 'UTC' - interval '1 s'";
    world.client.execute(past, &[]).await.unwrap();

    let _worker = world.worker("w1");

    world.assert_settled(&[id]).await;
    assert_eq!(world.log().await[0].error_code.as_deref(), Some("org.odoo.expired"));
    assert_eq!(world.homeserver.events(), []);
    let is_read = |request: &stack::homeserver::Request| request.path.last().is_some_and(|part| part == "messages");
    assert!(!world.homeserver.requests().iter().any(is_read), "nobody can have sent it before");
}

#[tokio::test]
async fn texts_of_any_kind_arrive_as_they_were_written() {
    let world = World::new(BINARY).await;
    let text = "«quotes» \"'\n<b>not bold</b> & 👩‍⚖️ \\u0041 % $1 {{ x }}\u{202e}";
    let _worker = world.worker("w1");

    let id = world.enqueue(ROOM, text).await;

    world.assert_settled(&[id]).await;
    assert_eq!(world.homeserver.bodies(ROOM), [text]);
    assert_eq!(world.log().await[0].body, text);
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight() {
    let world = World::new(BINARY).await;
    world.homeserver.hold_answers();
    let worker = world.worker("w1");
    let id = world.enqueue(ROOM, "in flight").await;
    world.homeserver.until_events(1).await;

    worker.signal(Signal::TERM).unwrap();
    world.homeserver.release();

    let status = worker.wait(Duration::from_secs(10)).await.unwrap();
    assert!(status.success(), "{status}");
    world.assert_settled(&[id]).await;
    let workers: i64 = world.client.query_one("SELECT count(*) FROM matrix_worker", &[]).await.unwrap().get(0);
    assert_eq!(workers, 0, "a clean stop takes its heartbeat away");
}

#[tokio::test]
async fn drain_sends_what_waits_and_says_how_it_went() {
    let world = World::new(BINARY).await;
    let first = world.enqueue_many(&[ROOM, "!other:double.test"], "message", 5).await;

    let output = world.command(&["drain"]).await;

    assert_eq!(String::from_utf8_lossy(&output.stdout), "10 sent, 0 failed, 0 still waiting\n");
    assert_eq!(output.status.code(), Some(0));
    world.assert_settled(&first).await;

    world.homeserver.fail_next(1, Fault::Refuse { status: 413, errcode: "M_TOO_LARGE" });
    world.enqueue(ROOM, "too large").await;
    let output = world.command(&["drain"]).await;

    assert_eq!(String::from_utf8_lossy(&output.stdout), "0 sent, 1 failed, 0 still waiting\n");
    assert_eq!(output.status.code(), Some(1));
}

/// The database takes all results, and then says no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_says_how_it_went_when_what_waits_cannot_be_counted() {
    let world = World::new(BINARY).await;
    world.enqueue_many(&["!a:double.test"], "message", 2).await;
    let proxy = Proxy::start(world.database.server()).await.unwrap();
    proxy.spoil("-- What still waits", 0, usize::MAX, Harm::Refuse("42501"));
    let mut drain = tokio::process::Command::from(world.launch.command(&["drain"]));
    drain.env("DATABASE_URL", proxy.url(&world.launch.url())).kill_on_drop(true);

    let output = tokio::time::timeout(Duration::from_secs(30), drain.output()).await.unwrap().unwrap();

    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(shown, "2 sent, 0 failed; what still waits could not be counted\n");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("42501"), "{error}");
}
