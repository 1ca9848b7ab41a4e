//! Claims of several workers on the same lanes.

use std::collections::HashMap;

use stack::{report, world::World};

use crate::{BINARY, turn};

/// The transaction id would hide it: a claim that reads messages which another worker has just completed sends them once more.
#[tokio::test]
async fn what_one_worker_has_completed_no_other_sends_again() {
    let _turn = turn::beside().await;
    let world = World::new(BINARY).await;
    let rooms: Vec<_> = (0..8).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let _workers: Vec<_> = (0..4).map(|number| world.worker(&format!("w{number}"))).collect();
    world.until("SELECT count(*) = 4 FROM matrix_worker").await;

    let mut ids = Vec::new();
    for _ in 0..250 {
        ids.extend(world.enqueue_many(&rooms, "message", 1).await);
    }

    world.assert_settled(&ids).await;
    let mut calls: HashMap<_, usize> = HashMap::new();
    for request in world.homeserver.requests().into_iter().filter(|request| request.is_send()) {
        *calls.entry(request.path).or_default() += 1;
    }
    let repeated = calls.values().filter(|&&count| count > 1).count();
    assert_eq!(repeated, 0, "of {} messages so many were sent again", ids.len());
    report::record(
        "four workers on eight rooms",
        "2,000 single messages without a fault; each PUT once",
        "0 messages sent again",
    );
}
