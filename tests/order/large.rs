//! Large messages: what the worker holds at once is bounded, and they are delivered over a slow connection too.

use std::time::{Duration, Instant};

use stack::{process::Process, proxy::Proxy, report, schedule, world::World};

use crate::BINARY;

/// As much as Odoo lets one message have, nearly.
const LARGE: usize = 58_000;

/// What the worker may take of the machine's memory at its peak, in MB.
const MOST_MEMORY: u64 = 64;

async fn fill(world: &World, rooms: usize, each: usize) -> Vec<i64> {
    let rooms: Vec<_> = (0..rooms).map(|room| format!("!large{room}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    world.enqueue_many(&rooms, &"x".repeat(LARGE), each.try_into().unwrap()).await
}

/// In MB.
fn peak_memory(worker: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn large_messages_of_many_rooms_do_not_fill_the_memory() {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    let ids = fill(&world, 64, 16).await;
    world.homeserver.delay(Duration::from_millis(20));

    let worker = world.worker("w1");
    world.until_empty().await;

    let peak = peak_memory(&worker);
    assert!(peak <= MOST_MEMORY, "{peak} MB");
    world.assert_settled(&ids).await;
    report::record(
        "large messages",
        &format!("{} messages of {} KB for 64 rooms, 64 at once; ≤ {MOST_MEMORY} MB", ids.len(), LARGE / 1000),
        &format!("{peak} MB at the peak"),
    );
}

/// A claim whose answer takes longer than its lease is useless, and so is the next one of the same size.
#[tokio::test]
async fn claims_shrink_until_a_slow_line_carries_them() {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    let ids = fill(&world, 8, 3).await;
    let proxy = Proxy::start(world.database.server()).await.unwrap();
    proxy.slow_down(400_000);
    let began = Instant::now();

    let _worker = world.worker_with("w1", &[("DATABASE_URL", &proxy.url(&world.launch.url()))]);
    world.assert_settled(&ids).await;
    let late = world.worker_logs().matches("asking for fewer at once").count();
    assert!(late <= 6, "{late} claims were too large; each halves the next one, down to a 64th");

    report::record(
        "a slow line to the database",
        &format!(
            "{} messages of {} KB, 400 KB/s, lease 3 s; a first claim of all of them would take 3.5 s",
            ids.len(),
            LARGE / 1000
        ),
        &format!("all delivered once in {:.0} s", began.elapsed().as_secs_f64()),
    );
}
