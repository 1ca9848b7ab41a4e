//! Without notifications delivery goes on by polling.

use std::time::{Duration, Instant};

use stack::{report, schedule, world::World};

use crate::BINARY;

const ROOM: &str = "!case:double.test";

/// The poll interval, and what sending takes.
const POLL: Duration = Duration::from_secs(15);
const SENDING: Duration = Duration::from_millis(500);

/// Queues one message when the worker has come to rest, and says how long it took to arrive.
async fn latency(world: &World) -> Duration {
    let arrived = world.homeserver.event_count();
    let committed = Instant::now();
    world.enqueue(ROOM, "message").await;
    world.homeserver.until_events(arrived + 1).await;
    let at = world.homeserver.events()[arrived].at;
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;
    at.duration_since(committed)
}

/// After a message the worker looks again for some seconds; then only its poll is left.
async fn rests(world: &World) {
    let looks = || async {
        let sql = "SELECT max(query_start) FILTER (WHERE query LIKE '-- Walk the lanes%') < now() - interval '2 s' FROM pg_stat_activity
            WHERE application_name LIKE 'odoo-matrix-worker%'";
        world.client.query_one(sql, &[]).await.unwrap().get::<_, Option<bool>>(0).unwrap_or_default()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !looks().await {
        assert!(Instant::now() < deadline, "the worker does not come to rest");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn without_notifications_a_message_waits_for_the_poll_and_no_longer() {
    let _turn = schedule::quiet().await;
    let mut worlds = Vec::new();
    for _ in 0..2 {
        let world = World::new(BINARY).await;
        let worker = world.worker("w1");
        latency(&world).await;
        worlds.push((world, worker));
    }

    // In two worlds at once: no trigger in one, in the other a notifier that rolls back.
    let (off, rolled_back) = (&worlds[0].0, &worlds[1].0);
    off.client.batch_execute("ALTER TABLE matrix_outbox DISABLE TRIGGER matrix_outbox_notify").await.unwrap();
    let without_trigger = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..2 {
            rests(off).await;
            slowest = slowest.max(latency(off).await);
        }
        slowest
    };
    let with_rollback = async {
        // Holds the gate as a transaction does that is about to notify, and rolls back; who commits meanwhile relies on it.
        let notifier = rolled_back.database.connect().await.unwrap();
        let mut slowest = Duration::ZERO;
        for _ in 0..2 {
            rests(rolled_back).await;
            notifier.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(1836348024, 1)").await.unwrap();
            let arrived = rolled_back.homeserver.event_count();
            let committed = Instant::now();
            rolled_back.enqueue(ROOM, "message").await;
            notifier.batch_execute("ROLLBACK").await.unwrap();
            rolled_back.homeserver.until_events(arrived + 1).await;
            slowest = slowest.max(rolled_back.homeserver.events()[arrived].at.duration_since(committed));
        }
        slowest
    };
    let (without_trigger, with_rollback) = tokio::join!(without_trigger, with_rollback);

    // The other way round: a listener that is killed is back before the next poll.
    let killed = &worlds[1].0;
    rests(killed).await;
    let listeners = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'odoo-matrix-worker%' AND query LIKE '%pg_listening_channels%'";
    let ended: i64 = killed.client.query_one(listeners, &[]).await.unwrap().get(0);
    assert_eq!(ended, 1, "sessions that listened");
    let with_kill = latency(killed).await;

    for (name, latency) in
        [("trigger off", without_trigger), ("notifier rolled back", with_rollback), ("listener killed", with_kill)]
    {
        assert!(latency <= POLL + SENDING, "{name}: {latency:?}");
    }
    assert!(
        without_trigger > Duration::from_secs(1),
        "the trigger was off, and the message was noticed in {without_trigger:?}"
    );
    report::record(
        "trigger off, listener killed, notifier rolled back",
        "latency ≤ poll interval (15 s)",
        &format!(
            "{:.1} s, {:.1} s, {:.1} s",
            without_trigger.as_secs_f64(),
            with_kill.as_secs_f64(),
            with_rollback.as_secs_f64()
        ),
    );
}
