//! The machine's clock is wrong: the database's clock judges leases, and the worker's own deadlines count seconds.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use stack::{
    faketime,
    homeserver::Fault,
    process::Signal,
    report,
    world::{World, kill},
};

use crate::{
    BINARY,
    common::{LEASE, Producer, beside},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_by_ten_minutes_takes_no_lease_early() {
    let _turn = beside().await;
    let mut waited = Vec::new();
    for (holder, heir) in [("-10m", "+10m"), ("+10m", "-10m")] {
        waited.push(take_over(holder, heir).await);
    }

    let [early, late] = [waited.iter().min(), waited.iter().max()].map(|time| time.unwrap().as_secs_f64());
    report::record(
        "worker clock ± 10 minutes (libfaketime)",
        "two workers 20 minutes apart, either way round, lease 3 s; no early take-over, none of a living worker",
        &format!("a dead worker's lanes were taken over after {early:.1} to {late:.1} s"),
    );
}

/// Returns how long after its last sign of life the lanes of the dead holder were taken.
async fn take_over(holder: &str, heir: &str) -> Duration {
    let world = World::new(BINARY).await;
    let mut producer = Producer::new(4);
    let holder_environment = faketime::shifted(holder).await.unwrap();
    let worker = world.worker_with("holder", &pairs(&holder_environment));
    world.until("SELECT EXISTS (SELECT FROM matrix_worker WHERE name = 'holder')").await;
    // Each lane is held for longer than a lease, so it must be renewed.
    world.homeserver.delay(Duration::from_millis(300));
    producer.more(&world, 16).await;
    world.homeserver.until_events(4).await;
    let heir_environment = faketime::shifted(heir).await.unwrap();
    let heir = world.worker_with("heir", &pairs(&heir_environment));
    world.until_empty().await;
    assert!(!world.worker_logs().contains("Took over"), "a living worker's lane was taken\n{}", world.worker_logs());
    assert!(is_off(&worker.tail(), holder), "the clock of the worker was right\n{}", worker.tail());

    // All is the holder's while the other sleeps.
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;
    heir.signal(Signal::STOP).unwrap();
    world.homeserver.hold_answers();
    producer.more(&world, 2).await;
    world.homeserver.until_events(producer.ids.len() - 4).await;
    heir.signal(Signal::CONT).unwrap();
    let left = "SELECT max(lease_until) - (now() AT TIME ZONE 'UTC') FROM matrix_lane
        WHERE starts_with(owner, 'holder/') AND lease_until IS NOT NULL";
    let left = format!("SELECT COALESCE(EXTRACT(EPOCH FROM ({left})), 0)::double precision");
    kill(&worker).await;
    let killed = Instant::now();
    let left: f64 = world.client.query_one(&left, &[]).await.unwrap().get(0);
    world.homeserver.release();
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE starts_with(owner, 'holder/') AND lease_until IS NOT NULL)").await;
    let waited = killed.elapsed();

    assert!(left > 0.0, "the dead worker held nothing");
    assert!(waited.as_secs_f64() > left - 0.1, "taken over after {waited:?}, with {left} s left of the lease");
    assert!(waited <= LEASE + Duration::from_secs(1), "{waited:?}");
    producer.assert_delivered(&world).await;
    waited
}

const AWAY: &str = "!away:double.test";
const LEFT: &str = "!left:double.test";

/// All times that the database has lie an hour further ahead. Whatever is done with them compares them with the clock, so this is the
/// same as setting the clock back, for one database instead of all.
const AN_HOUR_BACK: &str = "
    UPDATE matrix_lane SET lease_until = lease_until + interval '1 h', retry_at = retry_at + interval '1 h',
        first_failed_at = first_failed_at + interval '1 h';
    UPDATE matrix_backend_status SET paused_until = paused_until + interval '1 h', next_send_at = next_send_at + interval '1 h',
        next_probe_at = next_probe_at + interval '1 h', since = since + interval '1 h', checked_at = checked_at + interval '1 h';
    UPDATE matrix_worker SET last_seen = last_seen + interval '1 h', started_at = started_at + interval '1 h';
    UPDATE matrix_outbox SET queued_at = queued_at + interval '1 h';
    UPDATE matrix_log SET date = date + interval '1 h', queued_at = queued_at + interval '1 h'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_clock_that_is_set_back_by_an_hour_delays_nothing_by_an_hour() {
    let _turn = beside().await;
    let stopped = "state = 'down', probe_interval_ms = 5000, next_probe_at = now() AT TIME ZONE 'UTC' + interval '5 s'";
    let limited = "state = 'rate_limited', interval_ms = 50, paused_until = now() AT TIME ZONE 'UTC' + interval '5 s',
        next_send_at = now() AT TIME ZONE 'UTC' + interval '5 s'";
    let (running, between) = tokio::join!(set_back(stopped, true), set_back(limited, false));

    report::record(
        "the database's clock is set back by an hour",
        "one room rests, one is leased by a dead worker, the account is stopped or limited; while the worker runs, and while none \
         runs: all goes on within a minute, the dead worker's room after 15 minutes at most",
        &format!("after {running:.1} s while it runs, {between:.1} s when it starts afterwards"),
    );
}

/// Returns after how many seconds all is delivered but what a dead worker holds.
async fn set_back(state: &str, is_running: bool) -> f64 {
    let mut world = World::new(BINARY).await;
    world.homeserver.fail_shard(&[AWAY], Fault::Page { status: 502 });
    let worker = world.worker("w1");
    let mut ids = world.enqueue_many(&[AWAY], "message", 2).await;
    world.until_resting(AWAY).await;
    if !is_running {
        worker.stop(Signal::TERM).await.unwrap();
    }
    let backend = world.backend;
    let before = format!(
        "INSERT INTO matrix_backend_status (backend_id, config_version)
            SELECT id, config_version FROM matrix_backend WHERE id = {backend} ON CONFLICT DO NOTHING;
        UPDATE matrix_backend_status SET {state};
        INSERT INTO matrix_lane (lane, owner, epoch, lease_until)
            VALUES ('{backend}/{LEFT}', 'dead/1', 1, now() AT TIME ZONE 'UTC' + interval '20 s')"
    );
    let transaction = world.client.transaction().await.unwrap();
    transaction.batch_execute(&before).await.unwrap();
    transaction.batch_execute(AN_HOUR_BACK).await.unwrap();
    transaction.commit().await.unwrap();
    world.homeserver.heal();
    let began = Instant::now();
    ids.push(world.enqueue("!other:double.test", "another").await);
    let left = world.enqueue(LEFT, "left").await;

    let _worker = (!is_running).then(|| world.worker("w2"));
    world.until(&format!("SELECT NOT EXISTS (SELECT FROM matrix_outbox WHERE id <> {left})")).await;
    let took = began.elapsed().as_secs_f64();

    world.assert_in_order(&[AWAY], "message", 2);
    let is_bounded = format!(
        "SELECT lease_until - now() AT TIME ZONE 'UTC' BETWEEN interval '10 min' AND interval '15 min' FROM matrix_lane
            WHERE lane = '{backend}/{LEFT}'"
    );
    assert!(world.client.query_one(&is_bounded, &[]).await.unwrap().get::<_, bool>(0), "the dead worker's lease");
    world.client.execute("UPDATE matrix_lane SET lease_until = lease_until - interval '15 min'", &[]).await.unwrap();
    ids.push(left);
    world.assert_settled(&ids).await;
    took
}

/// The one who sends counts its time by another clock, so nobody may take its lane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_worker_keeps_its_lanes_when_the_database_clock_is_set_back() {
    let _turn = beside().await;
    let world = World::new(BINARY).await;
    let _holder = world.worker_with("holder", &[("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "25")]);
    world.homeserver.hold_answers();
    let id = world.enqueue("!slow:double.test", "slow").await;
    world.homeserver.until_events(1).await;
    world.client.batch_execute(AN_HOUR_BACK).await.unwrap();

    let _heir = world.worker("heir");
    world.until("SELECT count(*) = 2 FROM matrix_worker WHERE last_seen <= now() AT TIME ZONE 'UTC'").await;

    world.homeserver.release();
    world.assert_settled(&[id]).await;
    assert!(!world.worker_logs().contains("aken over"), "{}", world.worker_logs());
    assert!(!world.worker_logs().contains("Took over"), "{}", world.worker_logs());
}

fn pairs<'a>(environment: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Whether the newest line of a log was stamped by a clock that is wrong in this direction.
fn is_off(log: &str, offset: &str) -> bool {
    let seconds = |arguments: &[&str]| -> i64 {
        let output = Command::new("date").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    let stamp = log.lines().last().and_then(|line| line.split_whitespace().next()).unwrap();
    let ahead = seconds(&["-d", stamp, "+%s"]) - seconds(&["+%s"]);
    if offset.starts_with('+') { ahead > 500 } else { ahead < -500 }
}
