//! What `/metrics` says is what happened.

use stack::{homeserver::Fault, process::Signal, world::World};

use crate::{BINARY, watched::Watched};

const ROOM: &str = "!case:double.test";

#[tokio::test]
async fn deliveries_are_counted_by_kind_and_outcome_and_timed() {
    let world = World::new(BINARY).await;
    let worker = Watched::start(&world, "w1", &[]).await;
    world.homeserver.fail_room("!bad:double.test", 1, Fault::Refuse { status: 400, errcode: "M_BAD_JSON" });

    let mut ids = world.enqueue_many(&[ROOM], "message", 3).await;
    ids.push(world.enqueue("!bad:double.test", "bad").await);

    world.assert_settled(&ids).await;
    worker.until_metric(r#"matrix_deliveries_total{event_type="manual",status="ok"}"#, 3.0).await;
    worker.until_metric(r#"matrix_deliveries_total{event_type="manual",status="failed"}"#, 1.0).await;
    assert_eq!(worker.metric("matrix_delivery_duration_seconds_count").await, 3.0);
    assert_eq!(worker.metric("matrix_queued_to_sent_seconds_count").await, 3.0);
    assert!(worker.metric("matrix_queued_to_sent_seconds_sum").await > 0.0);
    worker.until_metric("matrix_lanes_held", 0.0).await;
    worker.until_metric(&format!(r#"matrix_backend_up{{backend="{}"}}"#, world.backend), 1.0).await;
    worker.until_metric("matrix_listener_up", 1.0).await;
}

/// Alert rules and dashboards depend on these names.
#[tokio::test]
async fn every_promised_metric_is_on_the_page() {
    let world = World::new(BINARY).await;
    let worker = Watched::start(&world, "w1", &[]).await;
    let id = world.enqueue(ROOM, "one").await;
    world.assert_settled(&[id]).await;
    worker.until_metric(&format!(r#"matrix_backend_up{{backend="{}"}}"#, world.backend), 1.0).await;

    let (_, page) = worker.get("/metrics").await;

    for name in [
        "matrix_outbox_pending",
        "matrix_outbox_oldest_age_seconds",
        "matrix_deliveries_total{",
        "matrix_delivery_duration_seconds_bucket{",
        "matrix_queued_to_sent_seconds_bucket{",
        "matrix_rate_limited_total",
        "matrix_backend_up{",
        "matrix_lanes_held",
        "matrix_leases_taken_over_total",
        "matrix_fenced_completions_total",
        "matrix_db_reconnects_total",
        "matrix_listener_up",
        "matrix_inbound_events_total",
        "matrix_inbound_refused_total",
        "matrix_inbound_unreadable_total",
        "matrix_inbound_gaps_closed_total",
    ] {
        assert!(page.lines().any(|line| line.starts_with(name)), "{name} is missing:\n{page}");
    }
}

#[tokio::test]
async fn an_outage_shows_as_a_backlog_and_a_backend_that_is_down() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_always(Fault::Refuse { status: 503, errcode: "M_UNKNOWN" });
    world.enqueue_many(&[ROOM], "message", 3).await;
    let hour = "UPDATE matrix_outbox SET queued_at = queued_at - interval '1 hour'";
    world.client.batch_execute(hour).await.unwrap();

    let worker = Watched::start(&world, "w1", &[]).await;

    worker.until_metric(r#"matrix_deliveries_total{event_type="manual",status="held"}"#, 1.0).await;
    worker.until_metric("matrix_outbox_pending", 3.0).await;
    assert!(worker.metric("matrix_outbox_oldest_age_seconds").await >= 3600.0);
    let backend = format!(r#"matrix_backend_up{{backend="{}"}}"#, world.backend);
    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'down')").await;
    worker.until_metric(&backend, 0.0).await;
    assert!(worker.get("/metrics").await.1.contains(&backend));
}

#[tokio::test]
async fn a_limit_is_counted_and_is_not_a_failure() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_next(1, Fault::Limit { retry_after_ms: 100 });
    let worker = Watched::start(&world, "w1", &[]).await;

    let id = world.enqueue(ROOM, "one").await;

    world.assert_settled(&[id]).await;
    worker.until_metric("matrix_rate_limited_total", 1.0).await;
    worker.until_metric(r#"matrix_deliveries_total{event_type="manual",status="ok"}"#, 1.0).await;
    assert_eq!(worker.metric(r#"matrix_deliveries_total{event_type="manual",status="failed"}"#).await, 0.0);
}

#[tokio::test]
async fn a_broken_connection_is_counted_and_the_listener_comes_back() {
    let world = World::new(BINARY).await;
    let worker = Watched::start(&world, "w1", &[]).await;
    // The session that holds the worker's name is the listener's.
    let listeners = "FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 1836348025
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    // It has the name a moment before it listens.
    worker.until_metric("matrix_listener_up", 1.0).await;

    world.client.query(&format!("SELECT pg_terminate_backend(pid) {listeners}"), &[]).await.unwrap();

    worker.until_metric("matrix_db_reconnects_total", 1.0).await;
    worker.until_metric("matrix_listener_up", 1.0).await;
}

#[tokio::test]
async fn lanes_of_a_dead_worker_are_counted_by_the_one_that_takes_them_over() {
    let world = World::new(BINARY).await;
    world.homeserver.hold_answers();
    let first = world.worker("w1");
    let ids = world.enqueue_many(&["!a:double.test", "!b:double.test"], "message", 1).await;
    world.homeserver.until_events(2).await;
    first.stop(Signal::KILL).await.unwrap();
    world.homeserver.release();

    let second = Watched::start(&world, "w2", &[]).await;

    world.assert_settled(&ids).await;
    second.until_metric("matrix_leases_taken_over_total", 2.0).await;
}

/// The result of a lane that somebody else holds by now is dropped, and that shows.
#[tokio::test]
async fn a_result_that_comes_too_late_is_counted_as_fenced() {
    let world = World::new(BINARY).await;
    let worker = Watched::start(&world, "w1", &[]).await;
    let mut blocker = world.database.connect().await.unwrap();
    let blocking = blocker.transaction().await.unwrap();
    blocking.batch_execute("LOCK TABLE matrix_log IN EXCLUSIVE MODE").await.unwrap();
    world.enqueue(ROOM, "one").await;
    world.homeserver.until_events(1).await;

    let stolen = "UPDATE matrix_lane SET epoch = epoch + 1, owner = 'other/1',
        lease_until = now() AT TIME ZONE 'UTC' + interval '1 hour'";
    world.client.batch_execute(stolen).await.unwrap();
    blocking.rollback().await.unwrap();

    worker.until_metric("matrix_fenced_completions_total", 1.0).await;
    assert_eq!(world.log().await, []);
}
