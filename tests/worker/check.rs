//! `check` finds what is wrong and says what to do about it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;
use stack::{faketime, homeserver::Fault, world::World};
use tempfile::TempDir;

use crate::BINARY;

/// The findings of one run, and its exit code.
pub(crate) async fn check(world: &World, variables: &[(&str, &str)]) -> (Vec<Value>, Option<i32>) {
    let mut command = world.launch.command(&["check", "--json"]);
    command.envs(variables.iter().copied());
    let output = tokio::process::Command::from(command).output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(report["ok"].as_bool(), Some(output.status.success()), "{report}");
    (report["findings"].as_array().unwrap().clone(), output.status.code())
}

/// The planted fault is found, with this verdict, this text, this fix and this exit code. Nothing else is wrong.
async fn finds(world: &World, variables: &[(&str, &str)], wanted: (&str, &str, &str, i32)) {
    let (verdict, text, fix, code) = wanted;
    let (findings, exit) = check(world, variables).await;
    // No worker runs in these tests, which is worth a warning.
    let bad: Vec<_> =
        findings.iter().filter(|found| found["verdict"] != "ok" && found["subject"] != "workers").collect();
    let found = bad.iter().find(|found| found["text"].as_str().unwrap().contains(text));
    let found = found.unwrap_or_else(|| panic!("«{text}» is not among {bad:?}"));
    assert_eq!(found["verdict"], verdict, "{found}");
    assert!(found["fix"].as_str().unwrap().contains(fix), "{found}");
    assert_eq!(exit, Some(code), "{bad:?}");
    assert_eq!(bad.len(), 1, "{bad:?}");
}

async fn sql(world: &World, statements: &str) {
    let role = world.launch.role();
    world.client.batch_execute(&statements.replace("{role}", &format!("\"{role}\""))).await.unwrap();
}

#[tokio::test]
async fn when_all_is_well_every_line_is_green() {
    let world = World::new(BINARY).await;
    let _worker = world.worker("w1");
    world.until("SELECT EXISTS (SELECT FROM matrix_worker)").await;

    let (findings, code) = check(&world, &[]).await;

    assert!(findings.iter().all(|found| found["verdict"] == "ok"), "{findings:?}");
    assert!(findings.len() >= 7, "{findings:?}");
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn faults_of_the_settings_are_found() {
    let world = World::new(BINARY).await;
    let folder = TempDir::new().unwrap();
    let exposed = folder.path().join("url");
    fs::write(&exposed, world.launch.url()).unwrap();
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = exposed.to_str().unwrap();

    finds(&world, &[("WORKER_CONCURENCY", "8")], ("problem", "WORKER_CONCURRENCY?", "man odoo-matrix-worker", 78))
        .await;
    finds(&world, &[("WORKER_SPEED", "8")], ("warning", "WORKER_SPEED", "correct its name", 0)).await;
    finds(&world, &[("DATABASE_URL_FILE", exposed)], ("warning", "mode 644", "chmod 600", 0)).await;
}

#[tokio::test]
async fn faults_of_the_database_are_found() {
    let world = World::new(BINARY).await;
    let url = world.launch.url();
    let (_, address) = url.rsplit_once('@').unwrap();
    let wrong_password = format!("postgresql://{}:wrong@{address}", world.launch.role());
    let wrong_database = format!("{url}x");

    let refused = [("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/none")];
    finds(&world, &refused, ("problem", "refused", "start PostgreSQL", 69)).await;
    let password = [("DATABASE_URL", wrong_password.as_str())];
    finds(&world, &password, ("problem", "password authentication failed", "correct the password", 69)).await;
    let database = [("DATABASE_URL", wrong_database.as_str())];
    finds(&world, &database, ("problem", "does not exist", "name of the database", 69)).await;

    sql(&world, "ALTER ROLE {role} SET default_transaction_read_only = on").await;
    finds(&world, &[], ("problem", "does not allow writes", "primary", 69)).await;
    sql(&world, "ALTER ROLE {role} RESET default_transaction_read_only").await;

    sql(&world, "ALTER TABLE matrix_outbox RENAME TO away").await;
    finds(&world, &[], ("problem", "no table matrix_outbox", "install or upgrade mail_matrix", 69)).await;
    sql(&world, "ALTER TABLE away RENAME TO matrix_outbox").await;

    sql(&world, "ALTER TABLE matrix_outbox DISABLE TRIGGER matrix_outbox_notify").await;
    finds(&world, &[], ("warning", "matrix_outbox_notify", "-u mail_matrix", 0)).await;
    sql(&world, "ALTER TABLE matrix_outbox ENABLE TRIGGER matrix_outbox_notify").await;
}

#[tokio::test]
async fn rights_that_are_missing_and_rights_that_nobody_needs_are_found() {
    let world = World::new(BINARY).await;

    sql(&world, "REVOKE DELETE ON matrix_outbox FROM {role}").await;
    finds(&world, &[], ("problem", "lacks matrix_outbox: DELETE", "odoo-matrix-worker grants --role", 1)).await;
    sql(&world, "GRANT DELETE, UPDATE ON matrix_outbox TO {role}").await;
    finds(&world, &[], ("warning", "matrix_outbox: UPDATE", "REVOKE", 0)).await;
    sql(&world, "REVOKE UPDATE ON matrix_outbox FROM {role}; ALTER ROLE {role} SUPERUSER").await;
    finds(&world, &[], ("warning", "is a superuser", "a role of its own", 0)).await;
}

#[tokio::test]
async fn faults_of_the_account_are_found() {
    let world = World::new(BINARY).await;

    world.homeserver.forget_device();
    finds(&world, &[], ("warning", "no device id", "log the account in with a device", 0)).await;
    world.homeserver.fail_always(Fault::Refuse { status: 401, errcode: "M_UNKNOWN_TOKEN" });
    finds(&world, &[], ("problem", "M_UNKNOWN_TOKEN", "set the new token in Odoo", 1)).await;
    sql(&world, "UPDATE matrix_backend SET homeserver_url = 'http://127.0.0.1:1'").await;
    finds(&world, &[], ("problem", "org.odoo.unreachable", "start the homeserver", 1)).await;
    sql(&world, "UPDATE matrix_backend SET token_sealed = 'fernet:x'").await;
    finds(&world, &[], ("problem", "the worker has no key", "matrix_token_key", 1)).await;
    sql(&world, "UPDATE matrix_backend SET is_active = false").await;
    finds(&world, &[], ("warning", "none is active", "Matrix > Backends", 0)).await;
}

#[tokio::test]
async fn a_paused_backend_and_a_wrong_clock_are_found() {
    let world = World::new(BINARY).await;
    let backend = world.backend.to_string();
    assert!(world.command(&["pause", "--backend", &backend, "--reason", "new disk"]).await.status.success());
    finds(&world, &[], ("warning", "new disk", &format!("resume --backend {backend}"), 0)).await;
    assert!(world.command(&["resume", "--all"]).await.status.success());

    let Some(library) = faketime::library() else { return };
    let library = library.to_str().unwrap();
    let clock = [("LD_PRELOAD", library), ("FAKETIME", "+60s"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    finds(&world, &clock, ("warning", "differs from ours by", "timedatectl", 0)).await;
}
