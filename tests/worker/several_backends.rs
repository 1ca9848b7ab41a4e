//! Several backends in one worker: each gets its places, and none holds up another.

use std::time::Duration;

use stack::{
    homeserver::{Fault, Membership, Room, TOKEN},
    world::World,
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";
const OTHER: &str = "!other:double.test";

/// Time limits that a test does not run into while it keeps answers back.
const PATIENT: [(&str, &str); 2] = [("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")];

/// A second account at the same homeserver.
async fn another_backend(world: &World) -> i32 {
    world.add_backend(&world.homeserver.url(), &format!("plain:{TOKEN}")).await
}

#[tokio::test]
async fn with_one_place_three_backends_take_turns() {
    let mut world = World::new(BINARY).await;
    let rooms: Vec<_> = (0..10).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let mut ids = world.enqueue_many(&rooms, "message", 40).await;
    world.backend = another_backend(&world).await;
    ids.extend(world.enqueue_many(&rooms, "message", 40).await);
    world.backend = another_backend(&world).await;
    ids.extend(world.enqueue_many(&[OTHER], "message", 1).await);

    let _worker = world.worker_with("w1", &[("WORKER_CONCURRENCY", "1")]);

    world.assert_settled(&ids).await;
    let at = world.homeserver.events().iter().position(|event| event.room == OTHER).unwrap();
    assert!(at < 200, "the last backend's only message came as number {at}");
}

/// All places are taken by calls that last, and the claim of the lane is not at its end.
#[tokio::test]
async fn a_pause_is_obeyed_while_all_places_are_taken() {
    let world = World::new(BINARY).await;
    world.homeserver.hold_answers();
    let worker = world.worker_with("w1", &[&PATIENT[..], &[("WORKER_CONCURRENCY", "1")]].concat());
    let ids = world.enqueue_many(&[ROOM], "message", 5).await;
    world.homeserver.until_events(1).await;

    assert!(world.command(&["pause", "--all", "--reason", "now"]).await.status.success());
    let heard = || async { world.worker_logs().contains("Paused by an operator").then_some(()) };
    worker.until("heard of the pause", Duration::from_secs(5), heard).await.unwrap();
    world.homeserver.release();

    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;
    assert_eq!(world.homeserver.bodies(ROOM), ["message 1"]);
    assert!(world.command(&["resume", "--all"]).await.status.success());
    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM], "message", 5);
}

#[tokio::test]
async fn a_backend_that_was_made_inactive_sends_nothing_after_the_message_in_flight() {
    let world = World::new(BINARY).await;
    world.homeserver.hold_answers();
    let worker = world.worker_with("w1", &PATIENT);
    let ids = world.enqueue_many(&[ROOM], "message", 5).await;
    world.homeserver.until_events(1).await;

    world.client.execute("UPDATE matrix_backend SET is_active = false", &[]).await.unwrap();
    let heard = || async { world.worker_logs().contains("configuration").then_some(()) };
    worker.until("heard of the change", Duration::from_secs(5), heard).await.unwrap();
    world.homeserver.release();

    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;
    assert_eq!(world.homeserver.bodies(ROOM), ["message 1"]);
    world.client.execute("UPDATE matrix_backend SET is_active = true", &[]).await.unwrap();
    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM], "message", 5);
}

/// What was leased for one backend is sent, although the database refuses to lease the other one's lanes.
#[tokio::test]
async fn lanes_that_cannot_be_leased_hold_up_no_other_backend() {
    let mut world = World::new(BINARY).await;
    let first = world.backend;
    world.backend = another_backend(&world).await;
    world.enqueue(OTHER, "stuck").await;
    let refuse = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON matrix_lane FOR EACH ROW WHEN (NEW.lane LIKE '{}/%') EXECUTE FUNCTION refuse()",
        world.backend
    );
    world.client.batch_execute(&refuse).await.unwrap();
    world.backend = first;
    world.enqueue(ROOM, "fine").await;

    let _worker = world.worker("w1");

    world.until_within("SELECT EXISTS (SELECT FROM matrix_log WHERE status = 'ok')", Duration::from_secs(10)).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["fine"]);
}

/// As lanes that somebody else's transaction has locked: the database asks to try again, and again.
#[tokio::test]
async fn a_backend_whose_lanes_are_locked_for_long_starves_no_other() {
    let mut world = World::new(BINARY).await;
    world.enqueue(OTHER, "stuck").await;
    let refuse = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not yet' USING ERRCODE = '55P03'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON matrix_lane FOR EACH ROW WHEN (NEW.lane LIKE '{}/%') EXECUTE FUNCTION refuse()",
        world.backend
    );
    world.client.batch_execute(&refuse).await.unwrap();
    world.backend = another_backend(&world).await;
    world.enqueue(ROOM, "fine").await;

    let _worker = world.worker("w1");

    world.until_within("SELECT EXISTS (SELECT FROM matrix_log WHERE status = 'ok')", Duration::from_secs(10)).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["fine"]);
}

/// Two workers that made the same rows in different orders would block each other.
#[tokio::test]
async fn lanes_seen_for_the_first_time_get_their_rows_in_one_order() {
    let mut world = World::new(BINARY).await;
    world.enqueue_many(&[ROOM, OTHER], "message", 1).await;
    world.backend = another_backend(&world).await;
    world.enqueue_many(&[ROOM, OTHER], "message", 1).await;

    assert!(world.command(&["drain"]).await.status.success());

    let sql = "SELECT array_agg(lane ORDER BY id) = array_agg(lane ORDER BY lane) AND count(*) = 4 FROM matrix_lane";
    assert!(world.client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0), "made in the order of the walk");
}

/// The first look at why the room refused was not answered: that says nothing of the room.
#[tokio::test]
async fn a_diagnosis_that_fails_for_the_moment_is_made_again() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, Room { membership: Membership::Invited, ..Room::default() });
    world.homeserver.hold_answers();
    let _worker = world.worker_with("w1", &PATIENT);
    let ids = world.enqueue_many(&[ROOM], "message", 2).await;
    world
        .homeserver
        .until("the refusal on its way", |double| double.requests().iter().any(|call| call.is_send()))
        .await;
    world.homeserver.fail_next(1, Fault::Refuse { status: 502, errcode: "M_UNKNOWN" });
    world.homeserver.release();

    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM], "message", 2);
}

/// As a proxy answers that undoes the encoding of a path: only this message's path is unknown to the homeserver.
#[tokio::test]
async fn one_message_whose_path_is_unknown_does_not_stop_its_lane_for_ever() {
    let world = World::new(BINARY).await;
    world.homeserver.poison("bad", Fault::Refuse { status: 404, errcode: "M_UNRECOGNIZED" });
    let bad = world.enqueue(ROOM, "bad").await;
    let behind = world.enqueue(ROOM, "behind").await;
    let _worker = world.worker("w1");
    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'misconfigured')").await;
    let other = world.enqueue(OTHER, "fine").await;
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;
    world.later(0).await;
    world.until_resting(ROOM).await;
    world.later(60).await;

    world.assert_settled(&[bad, behind, other]).await;

    assert_eq!(world.homeserver.bodies(ROOM), ["behind"]);
    let shown: Vec<_> = world.log().await.into_iter().filter(|row| row.outbox_id == bad).collect();
    assert_eq!(shown.iter().map(|row| row.is_final).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_limit_of_no_time_at_all_is_not_a_busy_loop() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_always(Fault::Limit { retry_after_ms: 0 });
    let _worker = world.worker("w1");
    let id = world.enqueue_direct("@lawyer:double.test", "later").await;

    let rests = "SELECT EXISTS (SELECT FROM matrix_lane WHERE retry_at > now() AT TIME ZONE 'UTC' + interval '500 ms')";
    world.until_within(rests, Duration::from_secs(5)).await;

    world.homeserver.heal();
    world.assert_settled(&[id]).await;
}

/// After a copy of the configuration was put back, say.
#[tokio::test]
async fn a_state_that_was_seen_with_a_later_configuration_is_forgotten() {
    let world = World::new(BINARY).await;
    let ahead =
        "INSERT INTO matrix_backend_status (backend_id, config_version, state) VALUES ($1, 99, 'misconfigured')";
    world.client.execute(ahead, &[&world.backend]).await.unwrap();
    let _worker = world.worker("w1");

    let id = world.enqueue(ROOM, "message").await;

    world.until_within("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", Duration::from_secs(10)).await;
    world.assert_settled(&[id]).await;
}

/// PostgreSQL cannot store a NUL: the result has to be logged without it, or the message is sent again every minute.
#[tokio::test]
async fn an_error_code_with_a_nul_is_logged() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_next(1, Fault::Refuse { status: 400, errcode: "M_\0BAD" });
    let _worker = world.worker("w1");
    let id = world.enqueue(ROOM, "message").await;

    world.until_within("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", Duration::from_secs(10)).await;
    world.assert_settled(&[id]).await;
    assert_eq!(world.log().await[0].error_code.as_deref(), Some("M_BAD"));
}
