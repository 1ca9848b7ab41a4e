//! A worker that has nothing to do costs the database next to nothing.

use std::time::Duration;

use stack::{
    postgres::{Options, Postgres},
    world::World,
};
use tokio::time::sleep;

use crate::BINARY;

/// Long enough for each of the worker's rhythms, of which the slowest is 20 s, to come round twice.
const WINDOW: Duration = Duration::from_secs(45);

/// 20 a minute, one more for each of four rhythms that may just begin in the window, and our own look.
const STATEMENTS: i64 = 15 + 4 + 1;

/// Each statement of the worker is a transaction of its own. A session reports them late: what it ran before the first look may count.
async fn transactions(world: &World) -> i64 {
    let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    world.client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn an_idle_worker_runs_no_more_than_20_statements_a_minute() {
    // Autovacuum's transactions would count too.
    let settings = vec![("autovacuum".to_owned(), "off".to_owned())];
    let postgres = Postgres::cluster(Options { settings, ..Options::default() }).await.unwrap();
    let world = World::on(&postgres, BINARY).await;
    let _worker = world.worker("w1");
    let id = world.enqueue("!case:double.test", "one").await;
    world.assert_settled(&[id]).await;
    // After the last message it looks a few more times, and its sessions report what they did.
    sleep(Duration::from_secs(12)).await;

    let before = transactions(&world).await;
    sleep(WINDOW).await;
    let ran = transactions(&world).await - before;

    assert!((4..=STATEMENTS).contains(&ran), "{ran} transactions in {} s", WINDOW.as_secs());
}
