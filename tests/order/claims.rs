//! Claims of several workers on the same lanes.

use std::{collections::HashMap, time::Duration};

use odoo_matrix_worker::{
    metrics::Metrics,
    store::{Claim, Store, Wanted},
};
use stack::{report, schedule, world::World};

use crate::BINARY;

/// The transaction id would hide it: a claim that reads messages which another worker has just completed sends them once more.
#[tokio::test]
async fn what_one_worker_has_completed_no_other_sends_again() {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    let rooms: Vec<_> = (0..8).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    // Patient ones: on a busy machine a call that runs into its time limit is repeated, too.
    let patient = [("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")];
    let _workers: Vec<_> = (0..4).map(|number| world.worker_with(&format!("w{number}"), &patient)).collect();
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

/// Between the walk and the claim another worker may hear a 429, write it down and give its lane back, which is then free.
#[tokio::test]
async fn a_backend_that_was_limited_or_stopped_since_the_walk_gives_no_lane() {
    let _turn = schedule::beside().await;
    let world = World::new(BINARY).await;
    world.enqueue("!case:double.test", "message").await;
    let lease = Duration::from_secs(30);
    let store = Store::new(&world.launch.url(), "w1", lease, Metrics::default()).unwrap();
    let lanes: Vec<_> =
        store.ring(&HashMap::new(), 16).await.unwrap().lanes.into_iter().map(|(_, lane)| lane).collect();
    let claim = async |is_paced| -> Vec<Claim> {
        let wanted = Wanted {
            backend: world.backend,
            lanes: &lanes,
            most: 1,
            messages: 1,
            bytes: 1 << 20,
            is_paced,
            remembered_for: Duration::from_secs(3600),
        };
        store.claim(&wanted).await.unwrap()
    };
    let status = async |state: &str, pause: &str| {
        let sql = format!(
            "INSERT INTO matrix_backend_status (backend_id, state, paused_until)
            VALUES ({}, '{state}', now() AT TIME ZONE 'UTC' + interval '{pause}')
            ON CONFLICT (backend_id) DO UPDATE SET state = excluded.state, paused_until = excluded.paused_until",
            world.backend
        );
        world.client.batch_execute(&sql).await.unwrap();
    };

    for state in ["rate_limited", "down", "unauthorized", "misconfigured", "paused"] {
        status(state, "1 minute").await;
        assert!(claim(false).await.is_empty(), "{state}");
    }
    // After the pause one lane goes with each slot, and no other.
    status("rate_limited", "-1 second").await;
    assert!(claim(false).await.is_empty());
    assert_eq!(claim(true).await.len(), 1);
    world.client.batch_execute("UPDATE matrix_lane SET lease_until = NULL").await.unwrap();
    status("ok", "0").await;
    assert_eq!(claim(false).await.len(), 1);
}
