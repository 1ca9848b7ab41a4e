//! The worker that follows an account dies or hangs between any two steps: nothing of what was written is lost, doubled
//! or out of order.

use std::time::{Duration, Instant};

use stack::{
    postgres::{Options, Postgres, Shutdown},
    process::{Process, Signal},
    report,
    webhook::Webhook,
    world::{World, kill},
};
use tempfile::TempDir;

use crate::{
    BINARY,
    common::{LEASE, alone, beside, cluster, failpoints, longest, side_by_side},
};

const ROOMS: [&str; 3] = ["!a:double.test", "!b:double.test", "!c:double.test"];
const ANNA: &str = "@anna:double.test";

/// After the homeserver's answer, while it is on its way to Odoo, and when Odoo has it but the place is not stored.
const POINTS: [(&str, u32); 5] = [("Synced", 6), ("PageRead", 4), ("BeforePost", 6), ("Forwarded", 6), ("InSince", 6)];

#[derive(Clone, Copy, Debug)]
struct Case {
    point: &'static str,
    at_most: u32,
    seed: u64,
}

/// Says one thing after the other in some rooms.
#[derive(Default)]
struct Speaker {
    rounds: usize,
}

impl Speaker {
    fn more(&mut self, world: &World, rounds: usize) {
        for _ in 0..rounds {
            self.rounds += 1;
            for room in ROOMS {
                world.homeserver.say(room, ANNA, &format!("text {}", self.rounds));
            }
        }
    }

    /// Odoo has all of it, each room's in its order.
    async fn assert_heard(&self, webhook: &Webhook) {
        webhook.until_events(self.rounds * ROOMS.len()).await;
        let wanted: Vec<_> = (1..=self.rounds).map(|round| format!("text {round}")).collect();
        for room in ROOMS {
            assert_eq!(webhook.bodies(room), wanted, "{room}");
        }
    }
}

async fn followed(world: &World) -> Webhook {
    let webhook = Webhook::start().await.unwrap();
    world.follow(&webhook).await;
    webhook
}

/// Twenty-five seeds of each with SOAK=1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_killed_at_any_point_loses_nothing_and_doubles_nothing() {
    let _alone = alone().await;
    failpoints();
    let seeds = report::scale(4, 25);
    let cases =
        POINTS.iter().flat_map(|(point, at_most)| (0..seeds).map(|seed| Case { point, at_most: *at_most, seed }));

    let taken_over = side_by_side(8, cases.collect(), play).await;

    report::record_form(
        "kill -9 of the worker that follows an account, at each of 5 points",
        &format!("{seeds} seeds each, lease 3 s: 0 lost, doubled or out of order at Odoo"),
        &format!(
            "{} kills; taken over after at most {:.2} s",
            taken_over.len(),
            longest(taken_over.iter().copied()).as_secs_f64()
        ),
    );
}

/// Returns how long the account stayed the killed worker's.
async fn play(case: Case) -> Duration {
    let mut random = fastrand::Rng::with_seed(case.seed);
    let world = World::on(cluster().await, failpoints()).await;
    let webhook = followed(&world).await;
    world.homeserver.delay(Duration::from_millis(random.u64(0..=10)));
    if case.point == "PageRead" || random.bool() {
        world.homeserver.tell_at_most(2);
    }
    let mut speaker = Speaker::default();
    let victim = until_reached(&world, &mut speaker, case.point, random.u32(1..=case.at_most)).await;
    let is_restarted = random.bool();
    let other = (!is_restarted).then(|| world.worker("other"));
    speaker.more(&world, random.usize(0..=5));

    let killed = Instant::now();
    kill(&victim).await;
    let restarted = is_restarted.then(|| world.worker("victim"));
    speaker.more(&world, random.usize(0..=5));
    world.until("SELECT epoch >= 2 AND lease_until > now() AT TIME ZONE 'UTC' FROM matrix_follower").await;
    let taken_over = killed.elapsed();
    speaker.more(&world, 2);

    speaker.assert_heard(&webhook).await;
    let limit = if is_restarted { Duration::from_secs(2) } else { LEASE + Duration::from_secs(1) };
    assert!(taken_over <= limit, "restarted {is_restarted}: after {taken_over:?}\n{}", world.worker_logs());
    drop((other, restarted));
    taken_over
}

/// A worker stopped at `point` for the `times`-th time, while somebody writes for as long as it takes to get there.
async fn until_reached(world: &World, speaker: &mut Speaker, point: &str, times: u32) -> Process {
    let folder = TempDir::new().unwrap();
    let reached = folder.path().join("reached");
    let variables = [("FAILPOINT", &*format!("{point}:{times}")), ("FAILPOINT_REACHED", reached.to_str().unwrap())];
    let victim = world.worker_with("victim", &variables);
    let deadline = Instant::now() + Duration::from_secs(60);
    // What is written before it knows its place is not passed on.
    let begun = "SELECT EXISTS (SELECT FROM matrix_follower WHERE since IS NOT NULL)";
    while !world.client.query_one(begun, &[]).await.unwrap().get::<_, bool>(0) {
        // The first place is stored like all others.
        if reached.exists() {
            return victim;
        }
        assert!(Instant::now() < deadline, "not followed\n{}", world.worker_logs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while !reached.exists() {
        assert!(Instant::now() < deadline, "{point} was not reached {times} times\n{}", world.worker_logs());
        speaker.more(world, 4);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    victim
}

/// It wakes up with an old answer when another worker has gone on long since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_hung_is_fenced_and_passes_nothing_on_to_odoo() {
    let _turn = beside().await;
    let world = World::new(BINARY).await;
    let webhook = followed(&world).await;
    let mut speaker = Speaker::default();
    let zombie = world.worker("zombie");
    world.until_followed().await;
    speaker.more(&world, 2);
    world.until("SELECT forwarded_total = 6 FROM matrix_follower").await;
    let readings = world.homeserver.readings();
    world.homeserver.until("the next reading", |double| double.readings() > readings || double.in_flight() > 0).await;

    zombie.signal(Signal::STOP).unwrap();
    let _heir = world.worker("heir");
    speaker.more(&world, 3);
    world.until("SELECT owner LIKE 'heir/%' FROM matrix_follower").await;
    speaker.assert_heard(&webhook).await;
    world.until("SELECT forwarded_total = 15 FROM matrix_follower").await;
    // An answer that the heir did not get in time has made it post again.
    let before = (webhook.posts(), webhook.repeated());
    zombie.signal(Signal::CONT).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !zombie_log(&zombie).contains("followed by another worker now") {
        assert!(Instant::now() < deadline, "not fenced\n{}", world.worker_logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    assert_eq!((webhook.posts(), webhook.repeated()), before);
    world.until("SELECT owner LIKE 'heir/%' AND epoch = 2 AND forwarded_total = 15 FROM matrix_follower").await;
    speaker.more(&world, 1);
    speaker.assert_heard(&webhook).await;
}

fn zombie_log(zombie: &Process) -> String {
    std::fs::read_to_string(zombie.log()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_goes_on_after_each_restart_of_the_database() {
    let _turn = beside().await;
    let postgres = Postgres::cluster(Options { durable: true, ..Options::default() }).await.unwrap();
    let world = World::on(&postgres, BINARY).await;
    let webhook = followed(&world).await;
    let mut speaker = Speaker::default();
    let _worker = world.worker("w1");
    world.until_followed().await;

    for how in [Shutdown::Fast, Shutdown::Immediate] {
        speaker.more(&world, 5);
        postgres.stop(how).await.unwrap();
        speaker.more(&world, 5);
        postgres.start_again().await.unwrap();
        speaker.more(&world, 5);
        speaker.assert_heard(&webhook).await;
    }
}
