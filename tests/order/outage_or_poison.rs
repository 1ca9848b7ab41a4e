//! Messages that fail while the homeserver answers: the homeserver may be at fault, or the message.

use std::time::{Duration, Instant};

use stack::{
    homeserver::{Event, Fault},
    report, schedule,
    world::World,
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";
const OTHER: &str = "!other:double.test";
const BROKEN: Fault = Fault::Refuse { status: 500, errcode: "M_UNKNOWN" };

/// `whoami` answers, so each probe says that all is well, and each time the first message says that it is not.
#[tokio::test]
async fn a_homeserver_that_only_refuses_messages_loses_none() {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    let lasts = Duration::from_secs(10);
    world.homeserver.fail_sends(BROKEN);
    let _worker = world.worker("w1");
    let ids = world.enqueue_many(&[ROOM, OTHER], "message", 5).await;
    let broken_until = Instant::now() + lasts;

    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'down')").await;
    // The fault lasts as long as the row of the reliability table says.
    tokio::time::sleep_until(broken_until.into()).await;
    world.homeserver.heal();
    let healed = Instant::now();

    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM, OTHER], "message", 5);
    let back = world.homeserver.events().iter().map(|event| event.at).min().unwrap().duration_since(healed);
    let failed: Vec<_> = world.log().await.into_iter().filter(|row| row.status == "failed").collect();
    assert!(failed.iter().all(|row| !row.is_final), "{failed:?}");
    assert!(failed.len() <= 2, "more than one row for each message that was tried: {failed:?}");
    report::record(
        "partial outage",
        "`/versions` and `whoami` answer, every message gets 500 for 10 s, two rooms; nothing final, all delivered after",
        &format!("0 final, 10 of 10 delivered, the first {:.1} s after the end", back.as_secs_f64()),
    );
}

/// Nobody else writes, so nothing passes that would show that only this room is away.
#[tokio::test]
async fn a_room_that_fails_while_nobody_else_writes_does_not_stop_the_account() {
    let _turn = schedule::beside().await;
    let mut slowest = Duration::ZERO;
    for fault in [BROKEN, Fault::Page { status: 502 }, Fault::Silence] {
        let world = World::new(BINARY).await;
        world.homeserver.fail_shard(&[ROOM], fault.clone());
        let _worker = world.worker("w1");
        let mut ids = world.enqueue_many(&[ROOM], "message", 3).await;
        world.until_resting(ROOM).await;

        let began = Instant::now();
        ids.push(world.enqueue(OTHER, "from elsewhere").await);
        world.homeserver.until("the other room's message", |double| double.last_body(OTHER).is_some()).await;
        slowest = slowest.max(began.elapsed());

        let stops = "SELECT count(*) FROM matrix_backend_status WHERE state <> 'ok'";
        assert_eq!(world.client.query_one(stops, &[]).await.unwrap().get::<_, i64>(0), 0, "{fault:?}");
        assert!(!world.worker_logs().contains("is stopped until"), "{fault:?}\n{}", world.worker_logs());
        world.homeserver.heal();
        world.later(1).await;
        world.assert_settled(&ids).await;
        world.assert_in_order(&[ROOM], "message", 3);
    }
    report::record(
        "one room is away while nobody else writes",
        "500, 502 or silence for one room, `whoami` answers; the account is not stopped, the next message of another room goes out",
        &format!("after at most {} ms", slowest.as_millis()),
    );
}

/// The first one to fail may be alone; of two, the homeserver is at fault, though it answers `whoami`.
#[tokio::test]
async fn a_second_room_that_fails_as_well_stops_the_account() {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    world.homeserver.fail_sends(BROKEN);
    let _worker = world.worker("w1");
    let mut ids = world.enqueue_many(&[ROOM], "message", 2).await;
    world.until_resting(ROOM).await;
    assert_ne!(world.state().await.as_deref(), Some("down"));

    ids.extend(world.enqueue_many(&[OTHER], "other", 2).await);

    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'down')").await;
    world.homeserver.heal();
    world.later(1).await;
    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM], "message", 2);
    world.assert_in_order(&[OTHER], "other", 2);
}

fn at(world: &World, body: &str) -> Instant {
    let found = world.homeserver.events().into_iter().find(|event| event.body() == body);
    found.map(|Event { at, .. }| at).unwrap_or_else(|| panic!("{body} has not arrived"))
}

#[tokio::test]
async fn a_poisonous_message_with_a_4xx_holds_up_its_room_for_less_than_a_second() {
    let _turn = schedule::quiet().await;
    let world = World::new(BINARY).await;
    world.homeserver.poison("message 3", Fault::Refuse { status: 400, errcode: "M_BAD_JSON" });
    let _worker = world.worker("w1");

    let ids = world.enqueue_many(&[ROOM], "message", 5).await;

    world.assert_settled(&ids).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["message 1", "message 2", "message 4", "message 5"]);
    let held = at(&world, "message 4").duration_since(at(&world, "message 2"));
    assert!(held < Duration::from_secs(1), "{held:?}");
    report::record(
        "poison row in the middle of a room, 4xx",
        "the next row ≤ 1 s later",
        &format!("{} ms later", held.as_millis()),
    );
}

#[tokio::test]
async fn a_poisonous_message_with_a_5xx_holds_up_its_room_until_the_message_behind_it_is_accepted() {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    world.homeserver.poison("message 3", BROKEN);
    let _worker = world.worker("w1");
    let mut ids = world.enqueue_many(&[ROOM], "message", 5).await;
    world.until_resting(ROOM).await;
    ids.push(world.enqueue(OTHER, "from elsewhere").await);
    let failed = Instant::now();

    // The time for which the message has failed is moved on, and the waits between the tries are skipped.
    let mut moved = Duration::ZERO;
    let is_given_up = "SELECT EXISTS (SELECT FROM matrix_log WHERE is_final AND status = 'failed')";
    while !world.client.query_one(is_given_up, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(moved <= Duration::from_secs(90), "not given up after {moved:?}");
        let lane = format!("FROM matrix_lane WHERE lane = '{}/{ROOM}'", world.backend);
        world.until(&format!("SELECT lease_until IS NULL {lane}")).await;
        let epoch: i64 = world.client.query_one(&format!("SELECT epoch {lane}"), &[]).await.unwrap().get(0);
        world.later(5).await;
        // A clock that ran on before the worker has tried again would count waits that nobody had.
        world.until(&format!("SELECT epoch > {epoch} AND lease_until IS NULL {lane}")).await;
        moved += Duration::from_secs(5);
    }

    world.assert_settled(&ids).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["message 1", "message 2", "message 4", "message 5"]);
    let poison: Vec<_> = world.log().await.into_iter().filter(|row| row.outbox_id == ids[2]).collect();
    let finals: Vec<_> = poison.iter().map(|row| (row.status.as_str(), row.is_final)).collect();
    assert_eq!(finals, [("failed", false), ("failed", true)]);
    let after = moved + failed.elapsed();
    report::record(
        "poison row in the middle of a room, 5xx",
        "given up within 90 s of its first failure, with the times in the database moved back, when the room takes the next message; the room goes on",
        &format!("given up after {:.0} s, 4 of 5 delivered in order", after.as_secs_f64()),
    );
}

/// The homeserver goes away and comes back in the middle of traffic. Messages that got through before or afterwards
/// prove nothing about those that did not.
#[tokio::test]
async fn a_homeserver_that_comes_and_goes_makes_no_message_poison() {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    let rooms: Vec<_> = (0..20).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let _workers = [world.worker("w1"), world.worker("w2")];
    world.homeserver.delay(Duration::from_millis(5));

    let ids = world.enqueue_many(&rooms, "message", 40).await;
    for away in 1..=3 {
        world.homeserver.until_events(away * 150).await;
        world.homeserver.fail_sends(BROKEN);
        world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'down')").await;
        world.homeserver.heal();
        world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'ok')").await;
    }

    world.assert_settled(&ids).await;
    let failed: Vec<_> = world.log().await.into_iter().filter(|row| row.status == "failed").collect();
    assert!(failed.iter().all(|row| !row.is_final), "{failed:#?}\n{}", world.worker_logs());
    world.assert_in_order(&rooms, "message", 40);
}
