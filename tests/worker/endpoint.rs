//! `/healthz` and `/readyz`, and what an endpoint that strangers may reach must withstand.

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use stack::{process::Signal, world::World};
use tokio::net::TcpStream;

use crate::{BINARY, watched::Watched};

#[tokio::test]
async fn a_worker_that_claims_is_ready() {
    let world = World::new(BINARY).await;
    let worker = Watched::start(&world, "w1", &[]).await;

    worker.until_says("/readyz", 200, "ready").await;
    assert_eq!(worker.get("/healthz").await, (200, "alive\n".to_owned()));
    assert_eq!(worker.get("/nothing").await.0, 404);
}

/// An upgrade of Odoo may take the tables away for a while: that must not end the service, and must be reported.
#[tokio::test]
async fn a_worker_without_its_tables_lives_says_why_it_is_not_ready_and_goes_on_when_they_come() {
    let world = World::new(BINARY).await;
    world.client.batch_execute("ALTER TABLE matrix_outbox RENAME TO away").await.unwrap();
    let worker = Watched::start(&world, "w1", &[]).await;

    worker.until_says("/readyz", 503, "install mail_matrix").await;
    assert_eq!(worker.get("/healthz").await.0, 200);

    world.client.batch_execute("ALTER TABLE away RENAME TO matrix_outbox").await.unwrap();
    worker.until_says("/readyz", 200, "ready").await;
}

#[tokio::test]
async fn a_worker_that_cannot_claim_says_why() {
    let world = World::new(BINARY).await;
    let worker = Watched::start(&world, "w1", &[]).await;
    worker.until_says("/readyz", 200, "ready").await;

    let role = worker_role(&world);
    world.client.batch_execute(&format!("REVOKE SELECT ON matrix_outbox FROM \"{role}\"")).await.unwrap();
    world.client.batch_execute("NOTIFY matrix_outbox").await.unwrap();

    worker.until_says("/readyz", 503, "lacks a right: permission denied for table matrix_outbox").await;
    assert_eq!(worker.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn only_get_is_served() {
    let world = World::new(BINARY).await;
    let worker = Watched::start(&world, "w1", &[]).await;

    let refused = reqwest::Client::new().post(format!("http://{}/metrics", worker.address)).body("x").send().await;

    let refused = refused.unwrap();
    assert_eq!(refused.status(), 405);
    assert_eq!(refused.headers()["allow"], "GET");
}

/// A monitoring system that leaks connections, or a scanner, must not make the worker look dead.
#[tokio::test]
async fn silent_connections_do_not_keep_others_waiting() {
    let world = World::new(BINARY).await;
    let worker = Watched::start(&world, "w1", &[]).await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(&worker.address).await.unwrap());
    }

    let asked = Instant::now();
    let answer = worker.get("/healthz").await;

    assert_eq!(answer.0, 200);
    assert!(asked.elapsed() <= Duration::from_secs(1), "{:?} beside {} silent ones", asked.elapsed(), silent.len());
}

#[tokio::test]
async fn an_address_that_is_taken_is_a_configuration_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let output = Command::new(BINARY)
        .arg("run")
        .env("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/none")
        .env("METRICS_LISTEN", &address)
        .output()
        .unwrap();

    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.contains(&format!("METRICS_LISTEN={address}")) && error.contains("free port"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_worker_that_stops_is_not_ready() {
    let world = World::new(BINARY).await;
    world.homeserver.hold_answers();
    let worker = Watched::start(&world, "w1", &[("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")]).await;
    worker.until_says("/readyz", 200, "ready").await;
    world.enqueue("!case:double.test", "in flight").await;
    world.homeserver.until_events(1).await;

    worker.process.signal(Signal::TERM).unwrap();

    worker.until_says("/readyz", 503, "stopping").await;
    world.homeserver.release();
    worker.process.wait(Duration::from_secs(15)).await.unwrap();
}

fn worker_role(world: &World) -> String {
    let url = world.launch.url();
    url.split("//").nth(1).unwrap().split(':').next().unwrap().to_owned()
}
