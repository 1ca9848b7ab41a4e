//! What `status` and `check` say about the device of an account that encrypts. The rows are those that a worker built with encryption
//! writes; the commands do not need to be built with it.

use serde_json::{Value, json};
use stack::world::World;

use crate::BINARY;

async fn encrypting() -> World {
    let world = World::new(BINARY).await;
    world.client.batch_execute("UPDATE matrix_backend SET encryption_mode = 'encrypt'").await.unwrap();
    world
}

/// Writes what a worker has found out about the device: assignments of columns of `matrix_crypto`.
async fn found(world: &World, assignments: &str) {
    let statements = format!(
        "DELETE FROM matrix_crypto; DELETE FROM matrix_follower;
         INSERT INTO matrix_follower (backend_id, owner, lease_until, synced_at)
         SELECT id, 'w1/1', now() AT TIME ZONE 'UTC' + interval '1 hour', now() AT TIME ZONE 'UTC' FROM matrix_backend;
         INSERT INTO matrix_crypto (backend_id, matrix_user_id, device_id, epoch, owner, database_identity, timeline_id, written_by)
         SELECT id, '@bot:double.test', 'DOUBLE', 1, 'w1/1', 'here', 1, 1 FROM matrix_backend;
         UPDATE matrix_crypto SET {assignments}"
    );
    world.client.batch_execute(&statements).await.unwrap();
}

/// The one device that `status` shows.
async fn shown(world: &World) -> (Value, String) {
    let read = async |arguments: &[&str]| {
        let output = world.command(arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let report: Value = serde_json::from_str(&read(&["status", "--json"]).await).unwrap();
    (report["encryption"][0].clone(), read(&["status"]).await)
}

/// What `check` says about it, and its exit code.
async fn checked(world: &World) -> (String, Option<i32>) {
    let output = world.command(&["check"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let about: Vec<_> = text.lines().skip_while(|line| !line.contains(", encryption:")).take(2).collect();
    (about.join("\n"), output.status.code())
}

#[tokio::test]
async fn a_device_that_is_ready_is_shown_and_one_that_is_not_asked_for_is_not() {
    let world = World::new(BINARY).await;
    assert_eq!(shown(&world).await.0, Value::Null);

    world.client.batch_execute("UPDATE matrix_backend SET encryption_mode = 'encrypt'").await.unwrap();
    found(&world, "signature = 'signed', fingerprint = 'r4pOHu9T'").await;

    let (device, text) = shown(&world).await;
    assert_eq!((&device["state"], &device["device"]), (&json!("ready"), &json!("DOUBLE")));
    assert!(text.contains("ENCRYPTION") && text.contains("r4pOHu9T"), "{text}");
    let (about, code) = checked(&world).await;
    assert!(about.contains("device DOUBLE, ready"), "{about}");
    assert_eq!(code, Some(0));
}

/// What the homeserver sends of them cannot be read.
#[tokio::test]
async fn the_messages_of_an_account_that_encrypts_reach_odoo_by_the_worker_only() {
    let world = encrypting().await;
    found(&world, "signature = 'signed'").await;
    let waits = "UPDATE matrix_backend SET inbound_mode = 'appservice';
        UPDATE matrix_follower SET state = 'waiting', reason = 'why'";
    world.client.batch_execute(waits).await.unwrap();

    let output = world.command(&["check"]).await;

    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("messages from Matrix do not reach Odoo: why"), "{text}");
    assert!(!text.contains("the homeserver"), "{text}");
    assert_eq!(output.status.code(), Some(1), "{text}");
}

#[tokio::test]
async fn each_trouble_of_a_device_has_a_reason_and_what_solves_it() {
    let world = encrypting().await;
    for (assignments, state, fix) in [
        ("signature = 'missing', signature_reason = 'why'", "unsigned", "«Verify Device»"),
        ("state = 'refused', reason = 'why'", "refused", "«New Device»"),
        ("state = 'lost', reason = 'why'", "lost", "«New Device»"),
        ("state = 'moved', reason = 'why'", "moved", "«New Device»"),
        ("state = 'lost', setup_state = 'failed', setup_reason = 'why'", "failed", "«Set Up Again»"),
    ] {
        found(&world, assignments).await;

        let (device, text) = shown(&world).await;
        assert_eq!((&device["state"], &device["reason"]), (&json!(state), &json!("why")), "{assignments}");
        assert!(text.contains("why"), "{text}");
        let (about, code) = checked(&world).await;
        assert!(about.contains("PROBLEM") && about.contains("(why)") && about.contains(fix), "{assignments}: {about}");
        assert_eq!(code, Some(1));
    }
}

#[tokio::test]
async fn an_account_whose_device_no_worker_has_is_a_problem() {
    let world = encrypting().await;

    assert_eq!(shown(&world).await.0["state"], "nobody");
    let (about, code) = checked(&world).await;
    assert!(about.contains("PROBLEM") && about.contains("built with encryption"), "{about}");
    assert_eq!(code, Some(1));

    found(&world, "signature = NULL").await;
    assert_eq!(shown(&world).await.0["state"], "setup");
}
