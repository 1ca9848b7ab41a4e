//! `status`, as a person and as a program reads it.

use odoo_matrix_worker::store::NOT_FAILED;
use serde_json::Value;
use stack::{homeserver::Fault, world::World};

use crate::BINARY;

const ROOM: &str = "!case:double.test";

async fn status(world: &World) -> Value {
    let output = world.command(&["status", "--json"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn shown(world: &World) -> String {
    let output = world.command(&["status"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn it_shows_what_was_sent_what_failed_and_who_sends() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_room("!bad:double.test", 1, Fault::Refuse { status: 400, errcode: "M_BAD_JSON" });
    let _worker = world.worker("w1");
    let mut ids = world.enqueue_many(&[ROOM], "message", 3).await;
    ids.push(world.enqueue("!bad:double.test", "bad").await);
    world.assert_settled(&ids).await;

    let report = status(&world).await;
    let text = shown(&world).await;

    let backend = &report["backends"][0];
    assert_eq!((&backend["name"], &backend["state"]), (&Value::from("test"), &Value::from("ok")));
    assert_eq!((backend["sent_last_hour"].as_i64(), backend["failed_last_hour"].as_i64()), (Some(3), Some(1)));
    assert_eq!((backend["waiting"].as_i64(), &backend["oldest_seconds"]), (Some(0), &Value::Null));
    assert_eq!(report["workers"][0]["name"], "w1");
    assert_eq!(report["warnings"], Value::from(Vec::<Value>::new()));
    assert!(text.contains("«test»") && text.contains("w1") && !text.contains("warning"), "{text}");
}

/// Odoo shows them as *Not sent*, *Discarded*, *Could not be read* and *Read later*.
#[tokio::test]
async fn what_odoo_logs_without_a_failure_to_send_does_not_count_as_failed() {
    let world = World::new(BINARY).await;
    let log = async |code: Option<&str>, person: Option<&str>| {
        let sql =
            "INSERT INTO matrix_log (backend_id, status, error_code, matrix_user_id) VALUES ($1, 'failed', $2, $3)";
        world.client.execute(sql, &[&world.backend, &code, &person]).await.unwrap();
    };
    for code in NOT_FAILED {
        log(Some(code), Some("@jane:double.test")).await;
    }
    log(Some("M_FORBIDDEN"), None).await;
    log(None, None).await;

    let backend = &status(&world).await["backends"][0];

    assert_eq!((backend["failed_last_hour"].as_i64(), backend["people_unreached"].as_i64()), (Some(2), Some(0)));
}

#[tokio::test]
async fn a_backend_that_is_down_says_why_and_when_it_is_asked_again() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_always(Fault::Refuse { status: 503, errcode: "M_UNKNOWN" });
    let _worker = world.worker("w1");
    world.enqueue_many(&[ROOM], "message", 2).await;
    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'down')").await;
    world.client.batch_execute("UPDATE matrix_outbox SET queued_at = queued_at - interval '2 hours'").await.unwrap();

    let report = status(&world).await;
    let text = shown(&world).await;

    let backend = &report["backends"][0];
    assert_eq!((&backend["state"], backend["waiting"].as_i64()), (&Value::from("down"), Some(2)));
    assert!(backend["oldest_seconds"].as_f64().unwrap() >= 7200.0);
    assert!(backend["reason"].as_str().unwrap().contains("HTTP 503"), "{backend}");
    assert!(text.contains("down") && text.contains("2 h") && text.contains("is asked again in"), "{text}");
}

#[tokio::test]
async fn without_a_worker_it_warns() {
    let world = World::new(BINARY).await;

    assert!(shown(&world).await.contains("warning  no worker was seen"));
}

#[tokio::test]
async fn counting_stops_at_a_bound() {
    let world = World::new(BINARY).await;
    world.enqueue_many(&[ROOM], "message", 10_001).await;
    world.client.batch_execute("UPDATE matrix_backend SET is_active = false").await.unwrap();

    let report = status(&world).await;
    let text = shown(&world).await;

    assert_eq!(report["backends"][0]["waiting"], 10_000);
    assert_eq!(report["backends"][0]["has_more"], true);
    assert!(text.contains("10,000+") && text.contains("inactive"), "{text}");
    assert!(text.contains("activate it in Odoo"), "{text}");
}

/// A long transaction elsewhere makes every claim slow, and nothing else in the worker's own numbers would say why.
#[tokio::test]
async fn a_session_that_holds_an_old_snapshot_is_named_as_far_as_the_role_may_see() {
    let world = World::new(BINARY).await;
    let mut holder = world.database.connect().await.unwrap();
    holder.batch_execute("SET application_name = 'nightly report'").await.unwrap();
    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let holding = holder.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
    let holding = holding.start().await.unwrap();
    holding.query_one("SELECT count(*) FROM matrix_outbox", &[]).await.unwrap();

    let young = status(&world).await;
    // Subtransactions count as transactions and need no commit of their own.
    let many = "DO $$ BEGIN FOR i IN 1..10001 LOOP BEGIN INSERT INTO matrix_worker (name) VALUES (i); \
        EXCEPTION WHEN division_by_zero THEN END; END LOOP; DELETE FROM matrix_worker; END $$";
    world.client.batch_execute(many).await.unwrap();
    let old = status(&world).await;
    let text = shown(&world).await;

    assert_eq!(young["server"]["oldest_snapshot"], Value::Null);
    let held = &old["server"]["oldest_snapshot"];
    assert_eq!((held["pid"].as_i64(), &held["application"]), (Some(pid.into()), &Value::from("nightly report")));
    assert_eq!(held["transaction_seconds"], Value::Null);
    assert!(text.contains(&format!("session {pid} (nightly report) holds the oldest snapshot")), "{text}");
    assert!(text.contains("pg_read_all_stats"), "{text}");
}

#[tokio::test]
async fn a_database_without_the_addon_is_reported() {
    let world = World::new(BINARY).await;
    world.client.batch_execute("ALTER TABLE matrix_outbox RENAME TO away").await.unwrap();

    for arguments in [&["status"][..], &["lanes"], &["pause", "--all", "--reason", "x"], &["resume", "--all"]] {
        let output = world.command(arguments).await;
        assert_eq!(output.status.code(), Some(69), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("install mail_matrix"), "{arguments:?}");
    }
}

#[tokio::test]
async fn it_counts_direct_rooms_and_people_who_could_not_be_reached() {
    let world = World::new(BINARY).await;
    let down = Fault::Refuse { status: 502, errcode: "M_UNKNOWN" };
    world.homeserver.fail_invitations("@far:elsewhere.test", Some(down));
    world.homeserver.without_account("@tpyo:double.test");
    let _worker = world.worker("w1");
    for person in ["@jane:double.test", "@tpyo:double.test", "@tpyo:double.test", "@far:elsewhere.test"] {
        world.enqueue_direct(person, "hello").await;
    }
    world.until("SELECT count(*) = 4 FROM matrix_log").await;
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;

    let backend = &status(&world).await["backends"][0];
    let text = shown(&world).await;

    // Jane's room, and the one that waits for the other's invitation.
    assert_eq!((backend["direct_rooms"].as_i64(), backend["people_unreached"].as_i64()), (Some(2), Some(2)));
    assert!(text.contains("2 direct rooms") && text.contains("2 people could not be reached"), "{text}");
}
