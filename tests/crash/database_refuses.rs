//! The database is there and refuses: a connection, a right, one row.

use std::time::{Duration, Instant};

use stack::{
    homeserver::Fault,
    proxy::{Harm, Proxy},
    report,
    world::World,
};

use crate::{
    BINARY,
    common::{Producer, beside, statement},
};

#[tokio::test]
async fn two_connections_are_enough() {
    let _turn = beside().await;
    let world = World::new(BINARY).await;
    let role = world.launch.role();
    world.client.batch_execute(&format!("ALTER ROLE \"{role}\" CONNECTION LIMIT 2")).await.unwrap();
    let _worker = world.worker("w1");
    let mut producer = Producer::new(10);

    let began = Instant::now();
    producer.more(&world, 10).await;
    producer.assert_delivered(&world).await;

    report::record(
        "pool exhaustion",
        "2 connections for the role (53300), 100 messages in 10 rooms; delivery goes on",
        &format!("delivered in {:.1} s", began.elapsed().as_secs_f64()),
    );
}

/// All connections wait for a lock that somebody holds, until their statements time out.
#[tokio::test]
async fn a_table_that_is_locked_for_a_while_only_delays() {
    let _turn = beside().await;
    let world = World::new(BINARY).await;
    let worker = world.worker("w1");
    let mut producer = Producer::new(10);
    producer.more(&world, 2).await;
    world.until_empty().await;
    let mut other = world.database.connect().await.unwrap();

    let transaction = other.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE matrix_lane").await.unwrap();
    producer.more(&world, 2).await;
    world.until("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'matrix_lane'::regclass AND NOT granted)").await;
    let deadline = Instant::now() + Duration::from_secs(15);
    while !world.worker_logs().contains("55P03") {
        assert!(Instant::now() < deadline, "no statement gave up waiting for its lock\n{}", world.worker_logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(transaction);

    producer.assert_delivered(&world).await;
    assert_eq!(worker.exit_status().unwrap(), None);
}

#[tokio::test]
async fn a_missing_right_is_reported_with_the_fix_and_delivery_goes_on_once_it_is_granted() {
    let _turn = beside().await;
    let world = World::new(BINARY).await;
    let role = world.launch.role();
    let _worker = world.worker("w1");
    let mut producer = Producer::new(3);
    for (right, table) in [("DELETE", "matrix_outbox"), ("UPDATE", "matrix_lane"), ("SELECT", "matrix_backend")] {
        world.client.batch_execute(&format!("REVOKE {right} ON {table} FROM \"{role}\"")).await.unwrap();
        let reported = world.worker_logs().matches("grants --role").count();
        producer.more(&world, 2).await;
        let deadline = Instant::now() + Duration::from_secs(10);
        while world.worker_logs().matches("grants --role").count() == reported {
            assert!(Instant::now() < deadline, "{right} on {table} was not missed\n{}", world.worker_logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        world.client.batch_execute(&format!("GRANT {right} ON {table} TO \"{role}\"")).await.unwrap();
        // Any new message wakes a worker that waits for the fix.
        producer.more(&world, 1).await;
        producer.assert_delivered(&world).await;
    }

    let reported = world.worker_logs().matches("42501").count();
    assert!(reported < 60, "reported {reported} times");
    report::record(
        "missing privilege (42501)",
        "3 rights revoked in turn; reported with the grants command, goes on after the grant",
        &format!("all delivered; reported {reported} times"),
    );
}

/// The completion writes many rows at once, and the database refuses one of them.
#[tokio::test]
async fn one_row_that_cannot_be_logged_holds_up_nobody_else_and_is_reported() {
    let _turn = beside().await;
    let world = World::new(BINARY).await;
    world
        .client
        .batch_execute("ALTER TABLE matrix_log ADD CONSTRAINT no_poison CHECK (payload NOT LIKE 'poison%')")
        .await
        .unwrap();
    let mut producer = Producer::new(50);
    producer.more(&world, 2).await;
    let room = producer.rooms[0].clone();
    let poison = [world.enqueue(&room, "poison 1").await, world.enqueue(&room, "poison 2").await];
    let last = world.enqueue(&room, "last").await;
    let _worker = world.worker("w1");

    let left =
        format!("SELECT array_agg(id ORDER BY id) = ARRAY[{}, {}]::bigint[] FROM matrix_outbox", poison[0], poison[1]);
    world.until(&left).await;
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;

    let lane = world
        .client
        .query_one("SELECT head_id, last_error, retry_at > now() AT TIME ZONE 'UTC' + interval '30 s' FROM matrix_lane WHERE head_id IS NOT NULL", &[])
        .await
        .unwrap();
    let (head, error, rests): (i64, String, bool) = (lane.get(0), lane.get(1), lane.get(2));
    assert_eq!(head, poison[0]);
    assert!(error.contains("no_poison") && rests, "{error}, rests: {rests}");
    let logs = world.worker_logs();
    assert_eq!(logs.matches("A result could not be logged").count(), 2, "each is reported once\n{logs}");
    assert_eq!(world.homeserver.requests().len(), 103, "each message is sent once, and then the lane rests");
    let mut wanted: Vec<_> = ["message 1", "message 2", "poison 1", "poison 2", "last"].map(str::to_owned).into();
    assert_eq!(world.homeserver.bodies(&room), wanted);

    // Once it is fixed the lane needs no restart.
    world.client.batch_execute("ALTER TABLE matrix_log DROP CONSTRAINT no_poison").await.unwrap();
    world.client.batch_execute("UPDATE matrix_lane SET retry_at = NULL").await.unwrap();
    world.client.batch_execute("NOTIFY matrix_outbox").await.unwrap();
    producer.ids.extend(poison);
    producer.ids.push(last);
    world.assert_settled(&producer.ids).await;
    wanted.sort_unstable();
    report::record(
        "a log insert that must fail for one row of a batch",
        "2 of 103 rows; the others are completed, those are reported, no hot loop",
        "101 completed at once, 2 reported and held, sent once; completed once fixed",
    );
}

/// The statement times out for its length: the same again would time out again.
#[tokio::test]
async fn results_that_take_too_long_together_are_written_in_parts() {
    let _turn = beside().await;
    let world = World::new(BINARY).await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM added) > 3 THEN RAISE 'too long' USING ERRCODE = 'query_canceled'; END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER slow AFTER INSERT ON matrix_log REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION slow()";
    world.client.batch_execute(slow).await.unwrap();
    world.homeserver.hold_answers();
    let _worker = world.worker_with("w1", &[("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")]);
    let mut producer = Producer::new(50);
    producer.more(&world, 1).await;
    world.homeserver.until_events(50).await;

    world.homeserver.release();

    producer.assert_delivered(&world).await;
    assert!(world.worker_logs().contains("57014"), "all came one by one\n{}", world.worker_logs());
}

/// That others got through meanwhile says nothing about a message that got through itself, and an outage that follows
/// is reported.
#[tokio::test]
async fn a_message_whose_result_was_refused_is_not_poison_in_the_outage_that_follows() {
    const ROOM: &str = "!case:double.test";
    let _turn = beside().await;
    let world = World::new(BINARY).await;
    let refuse = "ALTER TABLE matrix_log ADD CONSTRAINT no_case CHECK (payload NOT LIKE 'case%')";
    world.client.batch_execute(refuse).await.unwrap();
    let _worker = world.worker("w1");
    let id = world.enqueue(ROOM, "case").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NULL AND retry_at IS NOT NULL)").await;
    let other = world.enqueue("!other:double.test", "other").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_log WHERE status = 'ok')").await;

    world.homeserver.fail_room(ROOM, 2, Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    let fix =
        "ALTER TABLE matrix_log DROP CONSTRAINT no_case; UPDATE matrix_lane SET retry_at = NULL; NOTIFY matrix_outbox";
    world.client.batch_execute(fix).await.unwrap();

    world.assert_settled(&[id, other]).await;
    let rows = world.log().await.into_iter().filter(|row| row.outbox_id == id);
    let rows: Vec<_> = rows.map(|row| (row.status, row.is_final, row.attempts)).collect();
    assert_eq!(rows, [("failed".to_owned(), false, 3), ("ok".to_owned(), true, 4)]);
}

/// The state that all workers share cannot be written while the homeserver goes on refusing: no other worker would
/// know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_or_an_outage_that_cannot_be_recorded_is_kept_by_the_worker_itself() {
    const REFUSES_FOR: Duration = Duration::from_secs(3);
    let _turn = beside().await;
    let mut most = 0;
    for (name, fault) in [
        ("status_limited", Fault::Limit { retry_after_ms: 50 }),
        ("status_stopped", Fault::Refuse { status: 500, errcode: "M_UNKNOWN" }),
    ] {
        let world = World::new(BINARY).await;
        let proxy = Proxy::start(world.database.server()).await.unwrap();
        proxy.spoil(&statement(name), 0, usize::MAX, Harm::Refuse("42501"));
        world.homeserver.fail_sends(fault);
        let mut producer = Producer::new(20);
        producer.more(&world, 1).await;
        let _worker = world.worker_with("w1", &[("DATABASE_URL", &proxy.url(&world.launch.url()))]);
        world.homeserver.until("a message", |double| double.requests().iter().any(|request| request.is_send())).await;

        // The fault and the refusal last for less than the worker's own pause of 5 s.
        tokio::time::sleep(REFUSES_FOR).await;

        let sends = world.homeserver.requests().iter().filter(|request| request.is_send()).count();
        assert!(
            sends <= 2 * producer.rooms.len(),
            "{name}: each room was to meet the fault twice at most, not {sends} PUTs"
        );
        let claims = proxy.asked(&statement("claim"));
        assert!(claims <= producer.rooms.len(), "{name}: {claims} claims");
        most = most.max(sends);
        world.homeserver.heal();
        proxy.heal();
        producer.assert_delivered(&world).await;
    }
    report::record(
        "a limit or an outage that the database refuses to record",
        &format!(
            "2 statements refused for {} s under a lasting 429 or 500, 20 rooms; at most 2 PUTs per room",
            REFUSES_FOR.as_secs()
        ),
        &format!("at most {most} PUTs; all delivered after"),
    );
}
