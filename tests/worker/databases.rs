//! Databases and ways to them that are set up otherwise than by default.

use std::{
    process::{Command, Output},
    time::Duration,
};

use odoo_matrix_worker::store::{newest, schema};
use stack::{
    postgres::{self, pgbouncer::PgBouncer},
    process::Signal,
    world::World,
};

use crate::BINARY;

const ROOMS: [&str; 4] = ["!a:double.test", "!b:double.test", "!c:double.test", "!d:double.test"];

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Keeps the settings of the sessions that write the log.
const SEEN_BY_THE_LOG: &str = "
    CREATE TABLE public.seen (name text COLLATE \"C\", setting text, PRIMARY KEY (name, setting));
    CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO public.seen SELECT name, current_setting(name)
        FROM unnest(ARRAY['TimeZone', 'default_toast_compression', 'idle_session_timeout', 'lock_timeout', 'search_path',
            'statement_timeout', 'transaction_isolation', 'transaction_read_only']) AS name ON CONFLICT DO NOTHING;
        RETURN NEW;
    END $$;
    CREATE TRIGGER see AFTER INSERT ON public.matrix_log FOR EACH ROW EXECUTE FUNCTION public.see()";

/// What an administrator may have set for the whole database, most of it for Odoo's sake or by a template.
#[tokio::test]
async fn settings_of_the_database_change_nothing_for_the_worker() {
    let world = World::new(BINARY).await;
    for setting in [
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "TimeZone = 'Pacific/Kiritimati'",
        "search_path = 'nowhere'",
        "statement_timeout = '1ms'",
        "lock_timeout = '1ms'",
        "idle_session_timeout = '300ms'",
        "client_encoding = 'LATIN1'",
        "default_toast_compression = 'pglz'",
        "enable_indexscan = off",
    ] {
        world
            .client
            .batch_execute(&format!("ALTER DATABASE \"{}\" SET {setting}", world.database.name()))
            .await
            .unwrap();
    }
    world.client.batch_execute(SEEN_BY_THE_LOG).await.unwrap();
    let workers = [world.worker("w1"), world.worker("w2")];
    let ids = world.enqueue_many(&ROOMS, "„text“", 10).await;

    world.assert_settled(&ids).await;
    world.assert_in_order(&ROOMS, "„text“", 10);
    // Longer than an idle session may last: the listener is still there.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let last = world.enqueue(ROOMS[0], "last").await;
    world
        .until_within(
            &format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {last})"),
            Duration::from_secs(2),
        )
        .await;

    let check = world.command(&["check"]).await;
    assert!(check.status.success(), "{}", text(&check));
    for worker in &workers {
        worker.stop(Signal::TERM).await.unwrap();
    }
    let logs = world.worker_logs();
    assert!(!logs.contains(" WARN ") && !logs.contains("40001"), "{logs}");
    let seen = world.client.query("SELECT name, setting FROM public.seen ORDER BY name", &[]).await.unwrap();
    let seen: Vec<(String, String)> = seen.iter().map(|row| (row.get(0), row.get(1))).collect();
    let compression = "SELECT CASE WHEN 'lz4' = ANY (enumvals) THEN 'lz4' ELSE 'pglz' END
        FROM pg_settings WHERE name = 'default_toast_compression'";
    let compression: String = world.client.query_one(compression, &[]).await.unwrap().get(0);
    let wanted = [
        ("TimeZone", "UTC"),
        ("default_toast_compression", &compression),
        ("idle_session_timeout", "0"),
        ("lock_timeout", "4s"),
        ("search_path", "public"),
        ("statement_timeout", "8s"),
        ("transaction_isolation", "read committed"),
        ("transaction_read_only", "off"),
    ];
    assert_eq!(seen, wanted.map(|(name, setting)| (name.to_owned(), setting.to_owned())));
    let drift = "SELECT max(abs(extract(epoch FROM date - (now() AT TIME ZONE 'UTC'))))::float8 < 60 FROM matrix_log";
    assert!(world.client.query_one(drift, &[]).await.unwrap().get::<_, bool>(0), "a time is not UTC");
}

#[tokio::test]
async fn a_pooler_in_session_mode_carries_the_worker() {
    let world = World::new(BINARY).await;
    let pooler = PgBouncer::start(world.launch.server(), "session").await.unwrap();
    let url = pooler.server().url(world.launch.database());
    let worker = world.worker_with("w1", &[("DATABASE_URL", &url)]);
    world.until("SELECT EXISTS (SELECT FROM matrix_worker)").await;

    let ids = world.enqueue_many(&ROOMS, "text", 10).await;

    world.assert_settled(&ids).await;
    worker.stop(Signal::TERM).await.unwrap();
    assert!(!world.worker_logs().contains(" WARN "), "{}", world.worker_logs());
}

#[tokio::test]
async fn a_pooler_without_sessions_is_named_in_one_line_with_the_setting_to_change() {
    let world = World::new(BINARY).await;
    for mode in ["transaction", "statement"] {
        let pooler = PgBouncer::start(world.launch.server(), mode).await.unwrap();
        let url = pooler.server().url(world.launch.database());

        for command in ["run", "check", "drain"] {
            let mut run = tokio::process::Command::from(world.launch.command(&[command]));
            run.env("DATABASE_URL", &url).env("RUST_LOG", "off").kill_on_drop(true);
            // A worker that does not notice the pooler runs on.
            let ended = tokio::time::timeout(Duration::from_secs(30), run.output()).await;
            let output = ended.unwrap_or_else(|_| panic!("{mode} {command}: still running")).unwrap();

            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{mode} {command}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(error.contains("pool_mode") && error.contains("pgbouncer.ini"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_parameter_that_a_pooler_refuses_is_named_with_it() {
    let world = World::new(BINARY).await;
    let pooler = PgBouncer::start(world.launch.server(), "session").await.unwrap();
    let url = format!("{}?options=-c%20work_mem%3D8MB", pooler.server().url(world.launch.database()));

    for command in ["run", "check"] {
        let mut run = tokio::process::Command::from(world.launch.command(&[command]));
        let output = run.env("DATABASE_URL", &url).env("RUST_LOG", "off").kill_on_drop(true).output().await.unwrap();

        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{error}");
        assert!(error.contains("ignore_startup_parameters") && error.contains("options"), "{error}");
    }
}

/// Odoo's role owns the database and its tables, and may neither make nor alter other roles.
#[tokio::test]
async fn the_owner_of_odoos_database_can_run_the_grants_in_one_transaction() {
    let postgres = postgres::shared().await;
    let mut admin = postgres.database("admin").await;
    let worker = admin.create_role("worker").await.unwrap();
    let owner = postgres.odoo_role().await.unwrap();
    let database = postgres.create_database("odoo", None, &owner.role).await.unwrap();
    owner.connect(database.name()).await.unwrap().batch_execute(&schema(newest())).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grants.sql");
    let grants = Command::new(BINARY).args(["grants", "--role", &worker.role]).output().unwrap();
    std::fs::write(&file, grants.stdout).unwrap();

    let mut psql = Command::new(postgres::binaries().unwrap().join("psql"));
    psql.args(["-X", "-1", "-v", "ON_ERROR_STOP=1", "-d", &owner.url(database.name()), "-f"]).arg(&file);
    let output = psql.output().unwrap();

    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("only an administrator may"), "{}", text(&output));
    let client = worker.connect(database.name()).await.unwrap();
    client.batch_execute("DELETE FROM matrix_outbox; UPDATE matrix_lane SET epoch = epoch").await.unwrap();
}

/// A log of many years, and an outbox whose ids have left four bytes behind.
#[tokio::test]
async fn ids_beyond_four_bytes_are_delivered_once_and_logged() {
    let world = World::new(BINARY).await;
    let far = "SELECT setval('matrix_log_id_seq', 2147483647); SELECT setval('matrix_outbox_id_seq', 3000000000)";
    world.client.batch_execute(far).await.unwrap();
    world.homeserver.limit(50.0, 4);

    let mut ids = world.enqueue_many(&ROOMS, "text", 5).await;
    ids.push(world.enqueue_direct("@jane:double.test", "hello").await);
    let output = world.command(&["drain"]).await;

    assert!(output.status.success(), "{}", text(&output));
    world.assert_settled(&ids).await;
    world.assert_in_order(&ROOMS, "text", 5);
    assert!(ids[0] > 3_000_000_000);
    let logged = "SELECT min(id) > 2147483647 FROM matrix_log";
    assert!(world.client.query_one(logged, &[]).await.unwrap().get::<_, bool>(0));
    for command in [&["status"] as &[_], &["lanes"], &["history", &ids[0].to_string()]] {
        let output = world.command(command).await;
        assert!(output.status.success(), "{command:?}: {}", text(&output));
    }
}

/// As many as the columns hold: the last message has the last id.
#[tokio::test]
async fn ids_at_their_ends_are_delivered_once_and_logged() {
    let mut world = World::new(BINARY).await;
    let messages = ROOMS.len() as i64 * 3;
    world
        .client
        .batch_execute(&format!(
            "UPDATE matrix_backend SET id = 2147483647;
            SELECT setval('matrix_outbox_id_seq', {}), setval('matrix_log_id_seq', {}), setval('matrix_lane_id_seq', 2147483637),
                setval('matrix_backend_status_id_seq', 2147483547), setval('matrix_worker_id_seq', 2147483547)",
            i64::MAX - messages - 1,
            i64::MAX - 100,
        ))
        .await
        .unwrap();
    world.backend = i32::MAX;
    world.homeserver.limit(50.0, 4);
    let mut ids = world.enqueue_many(&ROOMS, "text", 3).await;
    ids.push(world.enqueue_direct("@jane:double.test", "hello").await);
    assert_eq!(ids.last(), Some(&i64::MAX));
    let record = "UPDATE matrix_outbox SET res_model = 'legal.case', res_id = 2147483647";
    world.client.batch_execute(record).await.unwrap();

    let worker = world.worker("w1");
    world.assert_settled(&ids).await;

    world.assert_in_order(&ROOMS, "text", 3);
    let logged =
        "SELECT count(*) FROM matrix_log WHERE status = 'ok' AND res_id = 2147483647 AND backend_id = 2147483647";
    assert_eq!(world.client.query_one(logged, &[]).await.unwrap().get::<_, i64>(0), ids.len() as i64);
    let last = i64::MAX.to_string();
    let asked = [
        &["status"] as &[_],
        &["lanes"],
        &["check"],
        &["history", &last],
        &["history", "--record", "legal.case,2147483647"],
    ];
    for command in asked {
        let output = world.command(command).await;
        assert!(output.status.success(), "{command:?}: {}", text(&output));
        assert!(command[0] != "history" || text(&output).contains(&last), "{command:?}: {}", text(&output));
    }
    // One more than the column holds.
    let output = world.command(&["history", "9223372036854775808"]).await;
    assert!(!output.status.success() && !text(&output).contains("panicked"), "{}", text(&output));
    worker.stop(Signal::TERM).await.unwrap();
    assert!(!world.worker_logs().contains("panicked"), "{}", world.worker_logs());
}
