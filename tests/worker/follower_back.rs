//! A homeserver that is back is read again soon, however long it was away.

use std::time::{Duration, Instant};

use stack::{homeserver::Fault, world::World};

use crate::{
    follower::{ANNA, ROOM, followed},
    watched::Watched,
};

/// After so many failures the pauses last for eight seconds at least.
const FAILURES: usize = 4;

fn readings(world: &World) -> Vec<Instant> {
    let readings = world.homeserver.requests().into_iter().filter(|request| request.path == ["sync"]);
    readings.map(|request| request.at).collect()
}

async fn is_read_soon(first_call: impl AsyncFnOnce(&World)) {
    let (world, webhook) = followed().await;
    let worker = Watched::start(&world, "w1", &[]).await;
    world.until_followed().await;
    world.homeserver.until("the account is read", |homeserver| homeserver.is_read()).await;
    for _ in 0..FAILURES {
        world.homeserver.fail_reading(Fault::Page { status: 502 });
    }
    worker.until_metric(r#"matrix_inbound_failures_total{side="homeserver"}"#, 4.0).await;
    let failed = readings(&world).len();

    first_call(&world).await;
    world.homeserver.say(ROOM, ANNA, "hello");

    webhook.until_events(1).await;
    let readings = readings(&world);
    let pause = readings[failed].duration_since(readings[failed - 1]);
    assert!(pause < Duration::from_secs(8), "{pause:?}\n{}", world.worker_logs());
}

#[tokio::test]
async fn once_a_message_or_a_probe_has_shown_that_the_homeserver_is_back_it_is_read_again() {
    let message = async |world: &World| {
        world.enqueue(ROOM, "question").await;
    };
    let probe = async |world: &World| {
        let down = "INSERT INTO matrix_backend_status (backend_id, state, next_probe_at, config_version)
            SELECT id, 'down', now() AT TIME ZONE 'UTC', config_version FROM matrix_backend;
            NOTIFY matrix_outbox";
        world.client.batch_execute(down).await.unwrap();
    };
    tokio::join!(is_read_soon(message), is_read_soon(probe));
}
