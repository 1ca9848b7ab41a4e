//! The homeserver is away, refuses the account, or a single message is poison.

use std::time::Duration;

use stack::{homeserver::Fault, process::Signal, world::World};

use crate::BINARY;

const ROOM: &str = "!case:double.test";
const OTHER: &str = "!other:double.test";

#[tokio::test]
async fn a_message_that_fails_twice_is_reported_and_sent_when_the_homeserver_is_back() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_always(Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    let _worker = world.worker("w1");
    let ids = world.enqueue_many(&[ROOM], "message", 3).await;

    world.until("SELECT EXISTS (SELECT FROM matrix_log WHERE status = 'failed')").await;
    let held = world.log().await;
    assert_eq!((held.len(), held[0].outbox_id, held[0].is_final, held[0].attempts), (1, ids[0], false, 2));
    assert_eq!(held[0].error_code.as_deref(), Some("M_UNKNOWN"));
    assert_eq!(world.state().await.as_deref(), Some("down"));
    world.homeserver.heal();

    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM], "message", 3);
    let log = world.log().await;
    assert_eq!(log.len(), 4, "one failed row, then one ok row each");
    assert_eq!((log[1].outbox_id, log[1].status.as_str(), log[1].attempts), (ids[0], "ok", 3));
    assert_eq!(world.state().await.as_deref(), Some("ok"));
}

#[tokio::test]
async fn an_attempt_counts_for_the_next_worker_when_its_own_is_stopped_before_the_retry() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_next(1, Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    let worker = world.worker_with("w1", &[("RETRY_DELAY_MS", "3000"), ("WORKER_LEASE_SECONDS", "10")]);
    let id = world.enqueue(ROOM, "message").await;
    let is_refused = |double: &stack::homeserver::Homeserver| double.requests().len() == 1 && double.in_flight() == 0;
    world.homeserver.until("the refusal", is_refused).await;

    worker.stop(Signal::TERM).await.unwrap();

    let lane = world.client.query_one("SELECT head_id, attempts, last_error FROM matrix_lane", &[]).await.unwrap();
    assert_eq!((lane.get(0), lane.get(1), lane.get::<_, Option<String>>(2)), (Some(id), 1, None));
    assert_eq!(world.log().await, [], "it has not failed yet");
    let _worker = world.worker("w2");
    world.assert_settled(&[id]).await;
    let log = world.log().await;
    assert_eq!((log.len(), log[0].status.as_str(), log[0].attempts), (1, "ok", 2));
}

#[tokio::test]
async fn a_refused_token_stops_the_account_and_a_new_one_starts_it_at_once() {
    let world = World::new(BINARY).await;
    world.client.execute("UPDATE matrix_backend SET token_sealed = 'plain:wrong'", &[]).await.unwrap();
    let _worker = world.worker("w1");
    let id = world.enqueue(ROOM, "secret").await;

    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'unauthorized')").await;
    world.until("SELECT count(*) = 1 FROM matrix_log WHERE NOT is_final AND error_code = 'M_UNKNOWN_TOKEN'").await;
    let token = format!("plain:{}", stack::homeserver::TOKEN);
    world.client.execute("UPDATE matrix_backend SET token_sealed = $1", &[&token]).await.unwrap();

    world.until_within("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", Duration::from_secs(2)).await;
    world.assert_settled(&[id]).await;
    assert!(!world.worker_logs().contains(stack::homeserver::TOKEN));
}

#[tokio::test]
async fn a_sealed_token_without_a_key_is_reported_with_the_fix() {
    let world = World::new(BINARY).await;
    world.client.execute("UPDATE matrix_backend SET token_sealed = 'fernet:gAAAAA'", &[]).await.unwrap();
    let _worker = world.worker("w1");
    world.enqueue(ROOM, "sealed").await;

    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'misconfigured')").await;

    world.until("SELECT count(*) = 1 FROM matrix_log WHERE error_message LIKE '%MATRIX_TOKEN_KEY%'").await;
    assert_eq!(world.log().await[0].error_code.as_deref(), Some("org.odoo.token"));
}

#[tokio::test]
async fn without_holding_an_outage_fails_each_message_after_its_retry() {
    let world = World::new(BINARY).await;
    world.client.execute("UPDATE matrix_backend SET hold_on_outage = false", &[]).await.unwrap();
    world.homeserver.fail_always(Fault::Refuse { status: 503, errcode: "M_UNKNOWN" });
    let _worker = world.worker("w1");

    let ids = world.enqueue_many(&[ROOM], "message", 2).await;

    world.assert_settled(&ids).await;
    assert!(world.log().await.iter().all(|row| row.status == "failed" && row.is_final && row.attempts == 2));
}

/// Others pass, so the account is well; whether the room or its first message is at fault is known after a minute.
#[tokio::test]
async fn a_poisonous_message_is_given_up_when_the_one_behind_it_is_accepted() {
    let world = World::new(BINARY).await;
    world.homeserver.poison("message 1", Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    let ids = world.enqueue_many(&[ROOM], "message", 3).await;
    let _worker = world.worker("w1");
    world.until_resting(ROOM).await;
    let other = world.enqueue(OTHER, "fine").await;
    world.later(0).await;
    world.until_resting(ROOM).await;
    assert_eq!(world.homeserver.bodies(ROOM), [""; 0], "the lane waits for its first message");
    assert_ne!(world.state().await.as_deref(), Some("down"));

    world.later(60).await;

    world.assert_settled(&[ids[0], ids[1], ids[2], other]).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["message 2", "message 3"]);
    let poison: Vec<_> = world.log().await.into_iter().filter(|row| row.outbox_id == ids[0]).collect();
    assert_eq!(poison.iter().map(|row| row.is_final).collect::<Vec<_>>(), [false, true]);
    assert!(poison[1].error_message.as_ref().unwrap().contains("has taken the next message"), "{poison:?}");
}

/// Each minute one message more is tried past them, so each of them costs the room a minute.
#[tokio::test]
async fn poisonous_messages_in_a_row_are_given_up_together() {
    let world = World::new(BINARY).await;
    for number in 1..=3 {
        world.homeserver.poison(&format!("message {number}"), Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    }
    let mut ids = world.enqueue_many(&[ROOM], "message", 5).await;
    let _worker = world.worker("w1");
    world
        .until("SELECT EXISTS (SELECT FROM matrix_lane WHERE first_failed_at IS NOT NULL AND lease_until IS NULL)")
        .await;
    ids.push(world.enqueue(OTHER, "fine").await);
    world.later(0).await;
    world.until_resting(ROOM).await;
    for _ in 1..3 {
        world.later(60).await;
        world.until_resting(ROOM).await;
        assert_eq!(world.homeserver.bodies(ROOM), [""; 0]);
    }

    world.later(60).await;

    world.assert_settled(&ids).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["message 4", "message 5"]);
    let log = world.log().await;
    for id in &ids[..3] {
        let shown: Vec<_> = log.iter().filter(|row| row.outbox_id == *id).map(|row| row.is_final).collect();
        assert_eq!(shown, [false, true], "message {id}: {log:?}");
    }
}

/// A transaction that was open all the while commits a lower id behind the head's back.
#[tokio::test]
async fn a_lower_id_that_is_committed_late_takes_no_time_from_a_suspect() {
    let mut world = World::new(BINARY).await;
    world.homeserver.fail_shard(&[ROOM], Fault::Page { status: 502 });
    let open = world.database.connect().await.unwrap();
    let other = std::mem::replace(&mut world.client, open);
    world.client.batch_execute("BEGIN").await.unwrap();
    let late = world.enqueue(ROOM, "late").await;
    let open = std::mem::replace(&mut world.client, other);
    let mut ids = world.enqueue_many(&[ROOM], "message", 2).await;
    let _worker = world.worker("w1");
    world
        .until("SELECT EXISTS (SELECT FROM matrix_lane WHERE first_failed_at IS NOT NULL AND lease_until IS NULL)")
        .await;
    ids.push(world.enqueue(OTHER, "fine").await);
    world.later(30).await;
    world.until_resting(ROOM).await;

    open.batch_execute("COMMIT").await.unwrap();
    world.later(0).await;
    world.until(&format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {late})")).await;
    world.until_resting(ROOM).await;
    world.later(30).await;
    world.until_resting(ROOM).await;
    let failing = "SELECT min(first_failed_at) < now() AT TIME ZONE 'UTC' - interval '60 s' FROM matrix_lane";
    assert!(world.client.query_one(failing, &[]).await.unwrap().get::<_, bool>(0), "the minute began anew");
    world.homeserver.heal();
    world.homeserver.poison("message 1", Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    world.later(0).await;

    ids.push(late);
    world.assert_settled(&ids).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["late", "message 2"]);
    let log = world.log().await;
    for id in [late, ids[0]] {
        let shown = log.iter().filter(|row| row.outbox_id == id && !row.is_final).count();
        assert_eq!(shown, 1, "failed rows of {id} while it was held: {log:?}");
    }
}

/// The message tried past the head arrives, and its answer is lost. The head must not follow it.
#[tokio::test]
async fn a_message_tried_past_the_head_that_arrived_without_an_answer_decides_the_next_claim() {
    let world = World::new(BINARY).await;
    world.homeserver.poison("message 1", Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    world.homeserver.poison("message 2", Fault::SilenceAccepted);
    let ids = world.enqueue_many(&[ROOM], "message", 3).await;
    let mark = "UPDATE matrix_outbox SET content = content || jsonb_build_object('org.odoo.outbox', txn_id)";
    world.client.execute(mark, &[]).await.unwrap();
    let _worker = world.worker("w1");
    world.until_resting(ROOM).await;
    let other = world.enqueue(OTHER, "fine").await;
    world.later(0).await;
    world.until_resting(ROOM).await;
    world.later(60).await;
    world.homeserver.until_events(2).await;
    world.until_resting(ROOM).await;

    world.homeserver.heal();
    world.later(1).await;

    world.assert_settled(&[ids[0], ids[1], ids[2], other]).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["message 2", "message 3"]);
    let last = world.log().await.into_iter().rfind(|row| row.outbox_id == ids[0]).unwrap();
    assert_eq!((last.is_final, last.error_code.as_deref()), (true, Some("org.odoo.overtaken")));
}

#[tokio::test]
async fn a_room_outage_without_holding_fails_each_message_after_its_retry() {
    let world = World::new(BINARY).await;
    world.client.execute("UPDATE matrix_backend SET hold_on_outage = false", &[]).await.unwrap();
    world.homeserver.fail_shard(&[ROOM], Fault::Page { status: 502 });
    let _worker = world.worker("w1");

    let mut ids = world.enqueue_many(&[ROOM], "message", 2).await;
    ids.extend(world.enqueue_many(&[OTHER], "other", 2).await);

    world.assert_settled(&ids).await;
    world.assert_in_order(&[OTHER], "other", 2);
    assert_eq!(world.log().await.iter().filter(|row| row.status == "failed" && row.is_final).count(), 2);
}

#[tokio::test]
async fn a_homeserver_that_is_away_is_probed_and_everything_waits_in_order() {
    let world = World::new(BINARY).await;
    let port = world.homeserver.port();
    let World { homeserver, .. } = world;
    drop(homeserver);
    let mut world = World::new(BINARY).await;
    let url = format!("http://127.0.0.1:{port}");
    world.client.execute("UPDATE matrix_backend SET homeserver_url = $1", &[&url]).await.unwrap();
    let _worker = world.worker("w1");
    let ids = world.enqueue_many(&[ROOM, OTHER], "message", 3).await;
    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'down')").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_log WHERE error_code = 'org.odoo.unreachable')").await;

    world.homeserver = stack::homeserver::Homeserver::start_at(port).await.unwrap();

    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM, OTHER], "message", 3);
}

/// As behind a proxy that has lost the way for messages only. Two rooms, since one alone may be at fault itself.
#[tokio::test]
async fn probes_slow_down_while_the_homeserver_answers_nothing_else() {
    let world = World::new(BINARY).await;
    let fails = || world.homeserver.fail_sends(Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    fails();
    let _worker = world.worker("w1");
    let mut ids = world.enqueue_many(&[ROOM, OTHER], "message", 1).await;
    let mut stopped = "-infinity".to_owned();
    let mut pause = async || {
        let again = format!("FROM matrix_backend_status WHERE state = 'down' AND since > '{stopped}'");
        world.until(&format!("SELECT EXISTS (SELECT {again})")).await;
        let sql = format!("SELECT EXTRACT(EPOCH FROM next_probe_at - since)::double precision, since::text {again}");
        let row = world.client.query_one(&sql, &[]).await.unwrap();
        stopped = row.get(1);
        row.get::<_, f64>(0)
    };

    let first = pause().await;
    world.later(0).await;
    let second = pause().await;
    world.later(0).await;
    let third = pause().await;
    world.homeserver.heal();
    world.later(0).await;
    world.until_empty().await;
    fails();
    ids.extend(world.enqueue_many(&[ROOM, OTHER], "another", 1).await);
    let after_a_message = pause().await;

    assert_eq!([first, second, third, after_a_message], [5.0, 7.5, 11.25, 5.0]);
    world.homeserver.heal();
    world.later(0).await;
    world.assert_settled(&ids).await;
}
