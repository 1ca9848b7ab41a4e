//! `pause` and `resume`: an operator's decision overrides what workers see.

use stack::world::World;

use crate::BINARY;

const ROOM: &str = "!case:double.test";

async fn succeed(world: &World, arguments: &[&str]) -> String {
    let output = world.command(arguments).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn nothing_is_sent_while_paused_and_a_resume_sends_at_once() {
    let world = World::new(BINARY).await;
    let backend = world.backend.to_string();
    let shown = succeed(&world, &["pause", "--backend", &backend, "--reason", "upgrade of Synapse"]).await;
    assert!(shown.contains("«test»: paused"), "{shown}");
    let ids = world.enqueue_many(&[ROOM], "message", 3).await;

    // It ends by itself when nothing is left that could be sent.
    let drained = world.command(&["drain"]).await;
    assert_eq!(String::from_utf8_lossy(&drained.stdout), "0 sent, 0 failed, 3 still waiting\n");
    let shown = succeed(&world, &["status"]).await;
    assert!(shown.contains("upgrade of Synapse") && shown.contains(&format!("resume --backend {backend}")), "{shown}");
    let _worker = world.worker("w1");
    world.until("SELECT EXISTS (SELECT FROM matrix_worker)").await;

    let shown = succeed(&world, &["resume", "--all"]).await;

    assert!(shown.contains("sends again; it was paused"), "{shown}");
    // Far below the worker's own poll of 15 s: the resume has woken it.
    world.until_within("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", std::time::Duration::from_secs(10)).await;
    world.assert_settled(&ids).await;
    assert!(succeed(&world, &["resume", "--all"]).await.contains("was not stopped"));
}

/// What was claimed before the pause is a whole batch: only the message in flight may still go out.
#[tokio::test]
async fn a_pause_stops_a_running_worker_after_the_message_in_flight() {
    let world = World::new(BINARY).await;
    world.homeserver.hold_answers();
    let worker = world.worker_with("w1", &[("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")]);
    let ids = world.enqueue_many(&[ROOM], "message", 5).await;
    world.homeserver.until_events(1).await;

    succeed(&world, &["pause", "--all", "--reason", "now"]).await;
    let heard = || async { world.worker_logs().contains("Paused by an operator").then_some(()) };
    worker.until("heard of the pause", std::time::Duration::from_secs(10), heard).await.unwrap();
    world.homeserver.release();

    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;
    world.until("SELECT count(*) = 1 FROM matrix_log").await;
    assert_eq!(world.homeserver.bodies(ROOM), ["message 1"]);
    succeed(&world, &["resume", "--all"]).await;
    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM], "message", 5);
}

#[tokio::test]
async fn a_pause_outlasts_a_change_of_the_configuration_and_an_answer_of_the_homeserver() {
    let world = World::new(BINARY).await;
    succeed(&world, &["pause", "--all", "--reason", "stays"]).await;
    world.enqueue(ROOM, "waits").await;
    world.client.batch_execute("UPDATE matrix_backend SET verify_ssl = false").await.unwrap();

    let drained = world.command(&["drain"]).await;

    assert_eq!(String::from_utf8_lossy(&drained.stdout), "0 sent, 0 failed, 1 still waiting\n");
    assert_eq!(world.state().await.as_deref(), Some("paused"));
    assert_eq!(world.homeserver.events(), []);
}

#[tokio::test]
async fn a_backend_that_does_not_exist_is_reported_beside_those_that_do() {
    let world = World::new(BINARY).await;

    for arguments in [
        &["pause", "--backend", "4711", "--reason", "x"][..],
        &["resume", "--backend", "4711"],
        &["lanes", "--backend", "4711"],
    ] {
        let output = world.command(arguments).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{error}");
        assert!(error.contains("4711") && error.contains(&format!("{} «test»", world.backend)), "{error}");
    }
    assert_eq!(world.state().await, None);
}

#[tokio::test]
async fn a_pause_needs_a_backend_and_a_reason() {
    let world = World::new(BINARY).await;

    for (arguments, wanted) in [
        (&["pause", "--reason", "x"][..], "--backend <ID>|--all"),
        (&["pause", "--all", "--backend", "1", "--reason", "x"], "cannot be used with"),
        (&["pause", "--all"], "--reason"),
        (&["pause", "--all", "--reason", " "], "in a few words why"),
        (&["resume"], "--backend <ID>|--all"),
    ] {
        let output = world.command(arguments).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(wanted), "{arguments:?}: {error}");
    }
    assert_eq!(world.state().await, None);
}
