//! Workers that are killed at random, and zombies: frozen until others have taken over, then back.

use std::time::{Duration, Instant};

use fastrand::Rng;
use stack::{
    process::{Process, Signal},
    report,
    world::{World, kill},
};

use crate::{
    BINARY,
    common::{LEASE, Producer, alone, cluster},
};

const ROOMS: usize = 100;
const SEED: u64 = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_frozen_workers_lose_nothing_and_keep_the_order() {
    let _alone = alone().await;
    let (rows, kills, zombies) = report::scale((3_000, 15, 4), (20_000, 100, 20));
    let mut random = Rng::with_seed(SEED);
    let world = World::on(cluster().await, BINARY).await;
    world.homeserver.delay(Duration::from_millis(5));
    let mut producer = Producer::new(ROOMS);
    let mut workers = Workers { world: &world, running: Vec::new(), named: 0 };
    for _ in 0..3 {
        workers.start();
    }

    let began = Instant::now();
    let mut rounds_left = rows / ROOMS;
    let mut steps_left = kills + zombies + 1;
    let mut portion = || {
        let portion = rounds_left / steps_left;
        (rounds_left, steps_left) = (rounds_left - portion, steps_left - 1);
        portion
    };
    for zombie in 0..zombies {
        producer.more(&world, portion()).await;
        some_deliveries(&world, &producer, &mut random).await;
        let frozen = workers.running.swap_remove(random.usize(..workers.running.len()));
        frozen.1.signal(Signal::STOP).unwrap();
        let thaw_at = tokio::time::Instant::now() + LEASE.mul_f64(1.5 + 1.5 * random.f64());
        for _ in 0..kills / zombies + usize::from(zombie < kills % zombies) {
            producer.more(&world, portion()).await;
            some_deliveries(&world, &producer, &mut random).await;
            workers.kill_one(&mut random).await;
        }
        tokio::time::sleep_until(thaw_at).await;
        frozen.1.signal(Signal::CONT).unwrap();
        workers.running.push(frozen);
    }
    // Every lane is claimed once more, so that no lease of a dead worker stays on one that has nothing to send.
    producer.more(&world, portion()).await;
    producer.assert_delivered(&world).await;

    report::record_form(
        "random kill -9 and SIGSTOP zombies",
        &format!(
            "3 workers, {ROOMS} rooms, {rows} rows, {kills} kills, {zombies} zombies of 1.5 to 3 leases; 0 lost, doubled, out of order"
        ),
        &format!("{} rows delivered once and in order in {:.0} s", producer.ids.len(), began.elapsed().as_secs_f64()),
    );
}

struct Workers<'a> {
    world: &'a World,
    running: Vec<(String, Process)>,
    named: usize,
}

impl Workers<'_> {
    fn start(&mut self) {
        self.named += 1;
        let name = format!("w{}", self.named);
        self.running.push((name.clone(), self.world.worker(&name)));
    }

    /// Kills one; its place is taken by the next process of its name, or by a stranger.
    async fn kill_one(&mut self, random: &mut Rng) {
        let (name, victim) = self.running.swap_remove(random.usize(..self.running.len()));
        kill(&victim).await;
        if random.bool() {
            self.running.push((name.clone(), self.world.worker(&name)));
        } else {
            self.start();
        }
    }
}

/// Waits until some more messages have arrived, so that the next fault meets work in flight.
async fn some_deliveries(world: &World, producer: &Producer, random: &mut Rng) {
    let arrived = world.homeserver.count();
    let some = random.usize(..=(producer.ids.len() - arrived) / 2);
    world.homeserver.until_events(arrived + some).await;
}
