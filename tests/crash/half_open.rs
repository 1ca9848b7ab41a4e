//! A connection whose other end has vanished: nothing arrives, nothing is refused.

use std::time::{Duration, Instant};

use stack::{
    proxy::{Proxy, Which},
    report,
    world::World,
};

use crate::{
    BINARY,
    common::{Producer, beside},
};

const LIMIT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn silent_connections_are_noticed_and_delivery_goes_on() {
    let _turn = beside().await;
    let world = World::new(BINARY).await;
    let proxy = Proxy::start(world.database.server()).await.unwrap();
    let worker = world.worker_with("w1", &[("DATABASE_URL", &proxy.url(&world.launch.url()))]);
    let mut producer = Producer::new(8);
    let mut figures = Vec::new();

    for (name, which) in [("listener", Which::Listeners), ("pool", Which::Others)] {
        producer.more(&world, 4).await;
        world.until_empty().await;
        let listens = "SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
            WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.classid = 1836348025)";
        world.until(listens).await;
        let noticed = world.worker_logs().matches("in time").count();

        proxy.hush(which);
        let silent = Instant::now();
        while world.worker_logs().matches("in time").count() == noticed {
            // Something is to be done all the while; a listener alone has only its heartbeat.
            producer.more(&world, 1).await;
            assert!(silent.elapsed() < LIMIT, "{name}: not noticed\n{}", world.worker_logs());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let noticed = silent.elapsed();
        let repaired = Instant::now();
        producer.more(&world, 1).await;
        world.until_within("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", LIMIT).await;
        let (noticed, delivered) = (noticed.as_secs_f64(), repaired.elapsed().as_secs_f64());
        figures.push(format!("{name} noticed after {noticed:.1} s, {delivered:.1} s later all is delivered"));
        producer.assert_delivered(&world).await;
        assert_eq!(worker.exit_status().unwrap(), None);
    }

    report::record("half-open TCP on listener and pool", "noticed ≤ 15 s; delivery goes on", &figures.join("; "));
}
