//! A 429 is not a failure: the account pauses, the messages wait.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use stack::{homeserver::Fault, proxy::Proxy, world::World};

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

#[tokio::test]
async fn the_pace_after_a_long_pause_begins_at_five_seconds() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_next(1, Fault::Limit { retry_after_ms: 600_000 });
    let _worker = world.worker("w1");
    world.enqueue("!a:double.test", "first").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'rate_limited')").await;

    let sql =
        "SELECT interval_ms, paused_until > now() AT TIME ZONE 'UTC' + interval '9 min' FROM matrix_backend_status";
    let row = world.client.query_one(sql, &[]).await.unwrap();

    assert_eq!((row.get(0), row.get(1)), (5_000, true));
}

/// How often a statement was asked for.
fn asked(proxy: &Proxy, name: &str) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql").join(name).with_extension("sql");
    proxy.asked(std::fs::read_to_string(path).unwrap().lines().next().unwrap())
}

/// No slot is taken for a lane that is being sent, here or elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_spent_on_a_message_only() {
    let world = World::new(BINARY).await;
    let limit = "INSERT INTO matrix_backend_status (backend_id, state, paused_until, next_send_at, interval_ms, config_version)
        SELECT id, 'rate_limited', now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', 50, config_version FROM matrix_backend";
    world.client.batch_execute(limit).await.unwrap();
    world.homeserver.hold_answers();
    let proxy = Proxy::start(world.database.server()).await.unwrap();
    let url = proxy.url(&world.launch.url());
    let patient = [("DATABASE_URL", url.as_str()), ("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")];
    let _worker = world.worker_with("w1", &patient);
    let first = world.enqueue("!a:double.test", "first").await;
    world.homeserver.until_events(1).await;

    let looks = asked(&proxy, "ring");
    while asked(&proxy, "ring") < looks + 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(asked(&proxy, "status_slot"), 1, "its own lane");

    world.homeserver.release();
    world.until_empty().await;
    let elsewhere = "UPDATE matrix_lane SET lease_until = now() AT TIME ZONE 'UTC' + interval '1 h', owner = 'w2/1';
        UPDATE matrix_backend_status SET state = 'rate_limited', interval_ms = 60000, next_send_at = now() AT TIME ZONE 'UTC'";
    world.client.batch_execute(elsewhere).await.unwrap();
    let looks = asked(&proxy, "ring");
    let second = world.enqueue("!a:double.test", "second").await;
    while asked(&proxy, "ring") < looks + 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let other = world.enqueue("!b:double.test", "other").await;
    world.homeserver.until_events(2).await;
    assert_eq!(world.homeserver.bodies("!b:double.test"), ["other"]);
    let free = "UPDATE matrix_lane SET lease_until = NULL; UPDATE matrix_backend_status SET next_send_at = now() AT TIME ZONE 'UTC';
        NOTIFY matrix_outbox";
    world.client.batch_execute(free).await.unwrap();
    world.assert_settled(&[first, second, other]).await;
}

/// Another room's message fails while the account pauses: when that is over, the pause is not.
#[tokio::test]
async fn an_outage_during_a_pause_does_not_end_the_pause() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_next(1, Fault::Limit { retry_after_ms: 600_000 });
    let _worker = world.worker("w1");
    world.enqueue("!a:double.test", "first").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'rate_limited')").await;

    let fall = "UPDATE matrix_backend_status SET state = 'down', probe_interval_ms = 5000, next_probe_at = now() AT TIME ZONE 'UTC';
        NOTIFY matrix_outbox";
    world.client.batch_execute(fall).await.unwrap();
    world.until("SELECT state <> 'down' FROM matrix_backend_status").await;

    let sql =
        "SELECT state, next_send_at > now() AT TIME ZONE 'UTC' + interval '9 min', reason FROM matrix_backend_status";
    let row = world.client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), ("rate_limited", Some(true)));
    assert!(row.get::<_, Option<&str>>(2).is_some_and(|reason| reason.contains("limits")));
    assert_eq!(world.homeserver.count(), 0);
}

/// The limit is kept, as the double counts: three workers send together what one of them might.
#[tokio::test]
async fn three_workers_under_a_standing_limit_keep_one_pace() {
    const PER_SECOND: u32 = 20;
    let world = World::new(BINARY).await;
    world.homeserver.limit(PER_SECOND.into(), 1);
    let _workers = [world.worker("w1"), world.worker("w2"), world.worker("w3")];
    world.until("SELECT count(*) = 3 FROM matrix_worker").await;
    let rooms: Vec<_> = (0..30).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();

    let ids = world.enqueue_many(&rooms, "message", 4).await;

    world.assert_settled(&ids).await;
    world.assert_in_order(&rooms, "message", 4);
    assert!(world.log().await.iter().all(|row| row.status == "ok" && row.attempts == 1));
    let sends: Vec<_> =
        world.homeserver.requests().into_iter().filter(|request| request.is_send()).map(|request| request.at).collect();
    // What was under way when the first of them met the limit.
    let known = sends[0] + Duration::from_secs(1);
    let later = sends.iter().filter(|at| **at >= known);
    let in_a_second =
        |from: Instant| sends.iter().filter(|at| (from..from + Duration::from_secs(1)).contains(*at)).count();
    let most = later.map(|at| in_a_second(*at)).max().unwrap();
    assert!(most <= 3 * PER_SECOND as usize / 2, "{most} in a second, where {PER_SECOND} are let through");
    assert!(sends.len() < 3 * ids.len(), "{} PUTs for {} messages", sends.len(), ids.len());
}

#[tokio::test]
async fn a_change_of_the_address_or_of_being_active_ends_a_pause_at_once() {
    let world = World::new(BINARY).await;
    let _worker = world.worker("w1");
    let other_name = world.homeserver.url().replace("127.0.0.1", "localhost");
    let mut ids = Vec::new();
    for change in [
        format!("UPDATE matrix_backend SET homeserver_url = '{other_name}'"),
        "UPDATE matrix_backend SET is_active = false; UPDATE matrix_backend SET is_active = true".to_owned(),
    ] {
        world.homeserver.fail_sends(Fault::Limit { retry_after_ms: 600_000 });
        ids.push(world.enqueue("!a:double.test", "message").await);
        world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'rate_limited')").await;
        world.homeserver.heal();

        world.client.batch_execute(&change).await.unwrap();

        // Far below the worker's own poll of 15 s: the change has woken it.
        world.until_within("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", Duration::from_secs(5)).await;
        assert_ne!(world.state().await.as_deref(), Some("rate_limited"), "{change}");
    }
    world.assert_settled(&ids).await;
}
