//! The machine's clock is wrong: the database's clock judges leases, and the worker's own deadlines count seconds.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use stack::{
    debian, faketime,
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
    let holder_environment = clock(holder).await;
    let worker = world.worker_with("holder", &pairs(&holder_environment));
    world.until("SELECT EXISTS (SELECT FROM matrix_worker WHERE name = 'holder')").await;
    // Each lane is held for longer than a lease, so it must be renewed.
    world.homeserver.delay(Duration::from_millis(300));
    producer.more(&world, 16).await;
    world.homeserver.until_events(4).await;
    let heir_environment = clock(heir).await;
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

/// What makes a program see another time of day. Its monotonic clock, like that of any machine, goes on as it should.
async fn clock(offset: &str) -> [(&'static str, String); 3] {
    if faketime::library().is_none() {
        debian::install(&["libfaketime"]).await.unwrap();
    }
    let library = faketime::library().expect("libfaketime is needed; on Debian it is the package libfaketime");
    [
        ("LD_PRELOAD", library.into_os_string().into_string().unwrap()),
        ("FAKETIME", offset.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
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
