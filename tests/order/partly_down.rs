//! A part of the homeserver is away: some rooms take nothing while all others go on.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use stack::{homeserver::Fault, report, schedule, world::World};

use crate::BINARY;

const ROOMS: usize = 30;
const AWAY: usize = 10;
const MESSAGES: i32 = 20;

/// The others' messages may take so long from their commit to their room.
const UNDISTURBED: Duration = Duration::from_secs(1);

struct Shard {
    world: World,
    rooms: Vec<String>,
    ids: Vec<i64>,
    /// How long each message of the other rooms took.
    took: Vec<Duration>,
}

impl Shard {
    async fn new() -> Self {
        let rooms = (0..ROOMS).map(|number| format!("!room{number}:double.test")).collect();
        Self { world: World::new(BINARY).await, rooms, ids: Vec::new(), took: Vec::new() }
    }

    fn all(&self) -> Vec<&str> {
        self.rooms.iter().map(String::as_str).collect()
    }

    /// One message to one of the rooms that go on.
    async fn send_elsewhere(&mut self) {
        let room = &self.rooms[AWAY + self.took.len() % (ROOMS - AWAY)];
        let body = format!("elsewhere {}", self.took.len());
        let began = Instant::now();
        self.ids.push(self.world.enqueue(room, &body).await);
        let arrived = |double: &stack::homeserver::Homeserver| double.last_body(room).as_deref() == Some(&*body);
        self.world.homeserver.until(&body, arrived).await;
        self.took.push(began.elapsed());
    }

    /// Nothing is lost, nothing failed for good, all in order. Returns how long the slowest of the others took.
    async fn check(&mut self) -> Duration {
        self.world.assert_settled(&self.ids).await;
        let lost: Vec<_> =
            self.world.log().await.into_iter().filter(|row| row.is_final && row.status != "ok").collect();
        assert!(lost.is_empty(), "{lost:?}");
        self.world.assert_in_order(&self.all()[..AWAY], "message", MESSAGES);
        for (number, room) in self.rooms.iter().enumerate().skip(AWAY) {
            let bodies = self.world.homeserver.bodies(room);
            let of_room = (0..self.took.len()).filter(|n| AWAY + n % (ROOMS - AWAY) == number);
            let wanted =
                (1..=MESSAGES).map(|n| format!("message {n}")).chain(of_room.map(|n| format!("elsewhere {n}")));
            assert_eq!(bodies, wanted.collect::<Vec<_>>(), "{room}");
        }
        let slowest = self.took.iter().max().copied().unwrap_or_default();
        assert!(slowest < UNDISTURBED, "a message of another room took {slowest:?}");
        slowest
    }
}

#[tokio::test]
async fn a_shard_that_is_away_for_seconds_makes_nothing_fail_and_disturbs_no_other_room() {
    let _turn = schedule::alone().await;
    let lasts = Duration::from_secs(20);
    let mut shard = Shard::new().await;
    let rooms = shard.all();
    shard.world.homeserver.fail_shard(&rooms[..AWAY], Fault::Page { status: 502 });
    let ids = shard.world.enqueue_many(&rooms, "message", MESSAGES).await;
    shard.ids.extend(ids);
    let _worker = shard.world.worker_with("w1", &[("RETRY_DELAY_MS", "1000"), ("WORKER_LEASE_SECONDS", "6")]);
    shard.world.homeserver.until_events((ROOMS - AWAY) * MESSAGES as usize).await;

    let began = Instant::now();
    while began.elapsed() < lasts {
        shard.send_elsewhere().await;
        // Somebody writes now and then.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shard.world.homeserver.heal();
    let healed = Instant::now();
    shard.world.until_empty().await;
    let back = healed.elapsed();

    let slowest = shard.check().await;
    report::record(
        "a shard of the homeserver is away for 20 s",
        "10 of 30 rooms answer 502, 20 messages each, the others go on; none lost, none failed for good, in order, others ≤ 1 s",
        &format!(
            "0 lost, 0 failed; {} messages elsewhere took at most {} ms; all delivered {:.1} s after the end",
            shard.took.len(),
            slowest.as_millis(),
            back.as_secs_f64()
        ),
    );
}

/// The time for which messages have failed is moved on, minute by minute; what is tried is tried for real.
#[tokio::test]
async fn a_shard_that_is_away_for_a_quarter_of_an_hour_makes_nothing_fail() {
    let _turn = schedule::alone().await;
    let mut shard = Shard::new().await;
    let rooms = shard.all();
    shard.world.homeserver.fail_shard(&rooms[..AWAY], Fault::Page { status: 502 });
    let mut ids = shard.world.enqueue_many(&rooms, "message", MESSAGES).await;
    let lonely = shard.world.enqueue("!alone:double.test", "alone").await;
    ids.push(lonely);
    let away: Vec<_> = rooms[..AWAY].iter().copied().chain(["!alone:double.test"]).collect();
    shard.world.homeserver.fail_shard(&away, Fault::Page { status: 502 });
    shard.ids.extend(ids);
    let _worker = shard.world.worker_with("w1", &[("RETRY_DELAY_MS", "300")]);
    shard.world.homeserver.until_events((ROOMS - AWAY) * MESSAGES as usize).await;

    for minute in 0..15 {
        shard.send_elsewhere().await;
        shard.world.later(60).await;
        let tried = format!(
            "SELECT count(*) = {} FROM matrix_lane WHERE attempts > {} AND lease_until IS NULL",
            AWAY + 1,
            2 * minute
        );
        shard.world.until(&tried).await;
    }
    shard.world.homeserver.heal();
    shard.world.later(1).await;

    let slowest = shard.check().await;
    let log = shard.world.log().await;
    let held_ids: Vec<_> = log.iter().filter(|row| !row.is_final).map(|row| row.outbox_id).collect();
    let messages: HashSet<_> = held_ids.iter().collect();
    assert_eq!(held_ids.len(), messages.len(), "a message was reported more than once while it was held");
    // The first one of each room, and in each minute at most one more that was tried past it.
    let failed_rows = held_ids.len();
    assert!((AWAY + 1..=AWAY * 15 + 1).contains(&failed_rows), "{failed_rows} failed rows");
    report::record(
        "a shard of the homeserver is away for 15 minutes",
        "with the times in the database moved back: 10 of 30 rooms answer 502, 20 messages each, and one room with a single message; none lost, \
         none failed for good, in order",
        &format!(
            "0 lost, 0 failed; {failed_rows} failed rows meanwhile, one for each message tried; messages elsewhere took at most {} ms",
            slowest.as_millis()
        ),
    );
}
