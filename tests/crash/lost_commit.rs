//! Nobody knows whether the completion was committed: its answer, or it itself, was lost with the connection.

use stack::{
    proxy::{Harm, Proxy},
    report,
    world::World,
};

use crate::{
    BINARY,
    common::{Producer, alone, cluster, side_by_side, statement},
};

const WORLDS: u64 = 10;

/// A hundred seeds with SOAK=1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_of_unknown_outcome_leaves_exactly_one_log_row() {
    let _alone = alone().await;
    let seeds = report::scale(40, 100);
    let seeds_of = |world: u64| (world * seeds / WORLDS..(world + 1) * seeds / WORLDS).collect::<Vec<_>>();

    let rows = side_by_side(WORLDS as usize, (0..WORLDS).map(seeds_of).collect(), play).await;

    report::record_form(
        "COMMIT outcome unknown",
        &format!("{seeds} seeds; exactly one log row"),
        &format!("{} messages, one log row each", rows.into_iter().sum::<usize>()),
    );
}

async fn play(seeds: Vec<u64>) -> usize {
    let world = World::on(cluster().await, BINARY).await;
    let proxy = Proxy::start(world.database.server()).await.unwrap();
    let _worker = world.worker_with("w1", &[("DATABASE_URL", &proxy.url(&world.launch.url()))]);
    let mut producer = Producer::new(3);
    for seed in seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let harm = if random.u8(..4) == 0 { Harm::LoseStatement } else { Harm::LoseAnswer };
        let harmed = proxy.harmed();

        proxy.spoil(&statement("complete"), random.usize(..2), random.usize(1..=2), harm);
        producer.more(&world, 3).await;

        world.until_empty().await;
        assert!(proxy.harmed() > harmed, "seed {seed}: no completion met its fault");
        proxy.heal();
        producer.assert_delivered(&world).await;
        let mut log = world.log().await;
        log.retain(|row| row.status != "ok");
        assert!(log.is_empty(), "seed {seed}: {log:?}\n{}", world.worker_logs());
    }
    producer.ids.len()
}
