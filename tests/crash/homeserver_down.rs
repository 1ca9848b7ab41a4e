//! The homeserver is down while messages stream in.

use std::{
    fs,
    time::{Duration, Instant},
};

use stack::{homeserver::Fault, process::Process, report, world::World};

use crate::{BINARY, common::alone};

const ROOMS: usize = 50;
const MEMORY_LIMIT_KB: u64 = 60 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_homeserver_that_is_down_costs_no_memory_and_no_message() {
    let _alone = alone().await;
    let (down_for, rows) = report::scale((20, 5_000), (180, 100_000));
    let down_for = Duration::from_secs(down_for);
    let world = World::new(BINARY).await;
    let rooms: Vec<_> = (0..ROOMS).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let workers = ["w1", "w2", "w3"].map(|name| world.worker(name));
    world.until("SELECT count(*) = 3 FROM matrix_worker").await;
    let mut ids = world.enqueue_many(&rooms, "before", 1).await;
    world.until_empty().await;

    // It answers every call with an error and counts them, which a closed port cannot.
    world.homeserver.fail_always(Fault::Page { status: 503 });
    let down = Instant::now();
    let portions = 50;
    let mut portion_due = tokio::time::interval(down_for / portions);
    let per_room = i32::try_from(rows / ROOMS / portions as usize).unwrap();
    let mut memory = 0;
    for portion in 0..portions {
        portion_due.tick().await;
        let body = format!("portion {portion:03} message");
        ids.extend(world.enqueue_many(&rooms, &body, per_room).await);
        memory = memory.max(workers.iter().map(resident_kb).max().unwrap_or_default());
    }
    let took = down.elapsed();
    let probes: Vec<_> = world
        .homeserver
        .requests()
        .into_iter()
        .filter(|request| request.path == ["account", "whoami"])
        .map(|request| request.at)
        .collect();
    let tried: i64 = world
        .client
        .query_one("SELECT COALESCE(max(rows), 0) FROM (SELECT count(*) AS rows FROM matrix_log WHERE NOT is_final GROUP BY outbox_id) AS held", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(world.homeserver.count(), ROOMS, "nothing was taken meanwhile");
    world.homeserver.heal();

    world.until_within("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", Duration::from_secs(300)).await;
    memory = memory.max(workers.iter().map(resident_kb).max().unwrap_or_default());
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;
    let finals: i64 = world
        .client
        .query_one("SELECT count(*) FROM matrix_log WHERE is_final AND status = 'ok'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(finals, i64::try_from(ids.len()).unwrap(), "each message has its ok row");
    let wanted: Vec<_> = (0..portions)
        .flat_map(|portion| {
            (1..=per_room).map(move |number| match per_room {
                1 => format!("portion {portion:03} message"),
                _ => format!("portion {portion:03} message {number}"),
            })
        })
        .collect();
    let wanted: Vec<_> = std::iter::once("before".to_owned()).chain(wanted).collect();
    for room in &rooms {
        assert_eq!(world.homeserver.bodies(room), wanted, "{room}");
    }

    let pace = probes.windows(2).map(|pair| pair[1].duration_since(pair[0])).min().unwrap_or(down_for);
    assert!(memory < MEMORY_LIMIT_KB, "{memory} kB");
    assert!(!probes.is_empty(), "nobody asked whether the homeserver is back");
    assert!(pace >= Duration::from_millis(4_900), "{pace:?} between probes");
    assert!(tried <= 1, "{tried} failed rows for one message");
    report::record_form(
        "homeserver down while rows arrive",
        &format!(
            "{} s, {rows} rows, 3 workers; memory < 60 MB, no row lost, probes ≤ 1 per 5 s over all workers, at most one failed \
             row per message tried, in order after",
            down_for.as_secs()
        ),
        &format!(
            "{:.0} MB; {} probes in {:.0} s, at least {:.1} s apart; {tried} failed row per message tried; all in order",
            memory as f64 / 1024.0,
            probes.len(),
            took.as_secs_f64(),
            pace.as_secs_f64()
        ),
    );
}

/// As the kernel counts what the process has in memory.
fn resident_kb(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
