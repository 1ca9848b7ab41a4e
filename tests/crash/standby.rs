//! The database moves to another server while the worker runs.

use std::time::{Duration, Instant};

use stack::{
    postgres::{Options, Postgres},
    report,
    world::World,
};

use crate::{
    BINARY,
    common::{LISTENS, beside},
};

const ROOM: &str = "!case:double.test";

/// The old primary comes back read-only: until another server is promoted, none takes writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_goes_on_at_the_server_that_takes_writes() {
    let _turn = beside().await;
    let old = Postgres::cluster(Options::default()).await.unwrap();
    let mut world = World::on(&old, BINARY).await;
    let new = old.standby().await.unwrap();
    let (old_port, new_port) = (old.server().port, new.server().port);
    // The standby is named first: it must be skipped as long as it is one.
    let one = format!("@127.0.0.1:{old_port}/");
    let both = format!("@127.0.0.1:{new_port},127.0.0.1:{old_port}/");
    let worker = world.worker_with("w1", &[("DATABASE_URL", &world.launch.url().replace(&one, &both))]);
    let mut ids = vec![world.enqueue(ROOM, "before").await];
    world.assert_settled(&ids).await;
    world.until(LISTENS).await;

    let written: String = world.client.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
    old.demote().await.unwrap();
    let reported = || async { world.worker_logs().contains("does not allow writes").then_some(()) };
    worker.until("said that nothing can be written", Duration::from_secs(60), reported).await.unwrap();
    world.client = new.server().connect(world.database.name()).await.unwrap();
    world.until(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn")).await;
    let promoted = Instant::now();
    world.until("SELECT pg_promote()").await;
    ids.push(world.enqueue(ROOM, "after").await);

    world.assert_settled(&ids).await;
    let resumed = promoted.elapsed();
    assert_eq!(world.homeserver.bodies(ROOM), ["before", "after"]);
    world.until(LISTENS).await;
    assert_eq!(worker.exit_status().unwrap(), None, "{}", worker.tail());
    report::record(
        "failover to a standby, the old primary back as one that is read-only",
        "two hosts in DATABASE_URL; reported, delivery and listener go on at the new primary without a restart",
        &format!("delivered {:.1} s after the promotion", resumed.as_secs_f64()),
    );
}
