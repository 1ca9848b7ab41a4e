//! The worker's own process while it writes in thirty encrypted rooms: killed at each step, frozen until another one has taken over, and with
//! servers that restart. A client that is independent of it judges what is in the rooms. For the long form only: `make soak`.

mod scene;

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use stack::{
    postgres::{Options, Postgres, Shutdown},
    process::Signal,
    progress::say,
    report,
};
use tokio::time::sleep;

use self::scene::{Death, LEASE, ROOMS, Scene};

/// The steps, and how often each is reached at most before the kill. `PutSent` comes after each call to the homeserver, so also between those
/// about keys.
const POINTS: [(&str, u32); 9] = [
    ("AfterClaim", 40),
    ("KeysStored", 40),
    ("BeforePut", 60),
    ("PutSent", 150),
    ("AnswerRead", 60),
    ("BeforeFlush", 20),
    ("InCommit", 20),
    ("AfterCommit", 20),
    ("InRenewal", 2),
];

/// After this many seeds of each point the rooms are read.
const SEEDS_AT_ONCE: usize = 1;

/// With another number in `SEEDS`, as many as there is time for.
fn seeds() -> u64 {
    std::env::var("SEEDS").map_or(25, |text| text.parse().unwrap())
}

/// Each with a homeserver and a database of its own: while one waits for a lease to end, the others use the machine.
async fn three_scenes(postgres: &Postgres) -> [Scene; 3] {
    let (one, two, three) = tokio::join!(Scene::open(postgres), Scene::open(postgres), Scene::open(postgres));
    [one, two, three]
}

/// What is left to be tried.
struct Queue<T>(Mutex<VecDeque<T>>);

impl<T> Queue<T> {
    fn new(all: impl IntoIterator<Item = T>) -> Self {
        Self(Mutex::new(all.into_iter().collect()))
    }

    fn next(&self) -> Option<T> {
        self.0.lock().unwrap().pop_front()
    }
}

/// How many messages were judged, with how many keys; and how long nothing was sent after a kill, at most.
#[derive(Clone, Copy, Default)]
struct Judged {
    messages: usize,
    keys: usize,
    another: Duration,
    restarted: Duration,
}

impl Judged {
    fn of(scenes: [Self; 3]) -> Self {
        scenes.into_iter().fold(Self::default(), |all, one| Self {
            messages: all.messages + one.messages,
            keys: all.keys + one.keys,
            another: all.another.max(one.another),
            restarted: all.restarted.max(one.restarted),
        })
    }

    fn with(mut self, (messages, keys): (usize, usize)) -> Self {
        (self.messages, self.keys) = (messages, keys);
        self
    }
}

async fn kills(scene: &mut Scene, deaths: &Queue<Death>, mut judged: Judged) -> Judged {
    while let Some(death) = deaths.next() {
        let (is_taken_over, away) = scene.die(death).await;
        let longest = if is_taken_over { &mut judged.another } else { &mut judged.restarted };
        *longest = away.max(*longest);
    }
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes most of an hour: make soak"]
async fn a_kill_at_any_step_loses_nothing_doubles_nothing_and_everything_can_be_read() {
    let postgres = Postgres::cluster(Options::default()).await.unwrap();
    let [mut one, mut two, mut three] = three_scenes(&postgres).await;
    let mut judged = [Judged::default(); 3];
    let all: Vec<_> = (0..seeds()).collect();
    for some in all.chunks(SEEDS_AT_ONCE) {
        let deaths = some.iter().flat_map(|seed| POINTS.map(|(point, at_most)| Death { point, at_most, seed: *seed }));
        let deaths = Queue::new(deaths);
        let (first, second, third) = tokio::join!(
            kills(&mut one, &deaths, judged[0]),
            kills(&mut two, &deaths, judged[1]),
            kills(&mut three, &deaths, judged[2]),
        );
        // One after the other: reading keeps this process busy, and others would not hear their homeserver's answers in time.
        judged = [first.with(one.judge().await), second.with(two.judge().await), third.with(three.judge().await)];
        let done = some.last().unwrap() + 1;
        say(format!("{done} seeds are judged: nothing lost, doubled, out of order or unreadable"));
        let Judged { messages, keys, another, restarted } = Judged::of(judged);
        // Each time, so that a run that is ended early has a figure, too.
        report::record_form(
            "encrypted rooms: kill -9 at each of 9 points",
            &format!(
                "real Synapse, {ROOMS} encrypted rooms at once, {done} seeds each, lease {} s; another worker or the next process goes on; 0 lost, \
                 doubled, out of order or unreadable for a strict client, no position of a key used twice",
                LEASE.as_secs()
            ),
            &format!(
                "{} kills, {messages} messages with {keys} keys; sent again after at most {:.1} s by another worker, {:.1} s by the next process",
                done * POINTS.len() as u64,
                another.as_secs_f64(),
                restarted.as_secs_f64(),
            ),
        );
    }
}

async fn zombies(scene: &mut Scene, numbers: &Queue<u64>) -> Judged {
    while let Some(number) = numbers.next() {
        scene.begin("zombie", number);
        let zombie = scene.worker("zombie");
        scene.more(4).await;
        scene.some_are_sent().await;
        zombie.signal(Signal::STOP).unwrap();
        let other = scene.worker("other");
        // Its session would keep rows locked, if it was frozen while it wrote.
        scene.more(2).await;
        sleep(LEASE.mul_f64(0.8 + 0.8 * scene.random.f64())).await;
        scene.some_are_sent().await;
        zombie.signal(Signal::CONT).unwrap();
        scene.more(1).await;
        scene.until_empty().await;
        for worker in [zombie, other] {
            worker.stop(Signal::TERM).await.unwrap();
        }
        scene.judge().await;
        say(format!("zombie {number}: judged"));
    }
    Judged::default().with(scene.judge().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_worker_that_was_frozen_until_another_one_had_taken_over_does_no_harm() {
    let postgres = Postgres::cluster(Options::default()).await.unwrap();
    let [mut one, mut two, mut three] = three_scenes(&postgres).await;
    let count = seeds().min(20);
    let numbers = Queue::new(0..count);
    let (one, two, three) =
        tokio::join!(zombies(&mut one, &numbers), zombies(&mut two, &numbers), zombies(&mut three, &numbers));
    let Judged { messages, keys, .. } = Judged::of([one, two, three]);
    report::record_form(
        "encrypted rooms: SIGSTOP zombies",
        &format!(
            "real Synapse, {ROOMS} encrypted rooms at once, {count} workers frozen for 0.8 to 1.6 leases while another one takes over under load; \
             the same pass line"
        ),
        &format!("{messages} messages with {keys} keys"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn restarts_of_the_database_and_of_the_homeserver_do_no_harm() {
    let postgres = Postgres::cluster(Options { durable: true, ..Options::default() }).await.unwrap();
    let mut scene = Scene::open(&postgres).await;
    let restarts = seeds().min(20);
    let workers = [scene.worker("w1"), scene.worker("w2")];
    for number in 0..restarts {
        scene.begin("restart", number);
        scene.more(4).await;
        scene.some_are_sent().await;
        match number % 4 {
            0 => postgres.restart(Shutdown::Fast).await.unwrap(),
            1 => scene.office.synapse.restart(Signal::KILL).await.unwrap(),
            2 => postgres.restart(Shutdown::Immediate).await.unwrap(),
            _ => scene.office.synapse.restart(Signal::TERM).await.unwrap(),
        }
        scene.office.world.client = scene.office.world.database.connect().await.unwrap();
        scene.more(1).await;
        scene.judge().await;
        for worker in &workers {
            assert_eq!(worker.exit_status().unwrap(), None, "{}", worker.tail());
        }
        say(format!("restart {number}: judged"));
    }
    let (messages, keys) = scene.judge().await;
    report::record_form(
        "encrypted rooms: restarts of PostgreSQL and Synapse",
        &format!(
            "{ROOMS} encrypted rooms at once, two workers, {restarts} restarts under load: PostgreSQL fast and immediate, Synapse by TERM and by \
             KILL; the same pass line"
        ),
        &format!("{messages} messages with {keys} keys"),
    );
}
