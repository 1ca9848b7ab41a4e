//! What the worker says when something that it needs is missing.

use std::{collections::BTreeSet, fs, net::TcpListener, path::Path, process::Command, time::Duration};

use odoo_matrix_worker::store::NOT_FAILED;
use stack::{process::Signal, report, world::World};

use crate::BINARY;

#[tokio::test]
async fn a_database_without_the_addon_is_reported_and_run_waits_for_it() {
    let world = World::new(BINARY).await;
    world.client.batch_execute("ALTER TABLE matrix_outbox RENAME TO away").await.unwrap();

    for command in ["check", "drain"] {
        let output = world.command(&[command]).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{command}: {error}");
        assert!(error.contains("install mail_matrix"), "{error}");
    }

    world.client.batch_execute("ALTER TABLE away RENAME TO matrix_outbox").await.unwrap();
    world.client.batch_execute("COMMENT ON TABLE matrix_outbox IS 'contract of 2031'").await.unwrap();
    let output = world.command(&["drain"]).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69));
    assert!(error.contains("contract of 2031") && error.contains("upgrade the worker"), "{error}");
}

/// A server that takes the connection and says nothing keeps an attempt for five seconds.
#[tokio::test]
async fn a_stop_is_obeyed_while_the_database_is_silent() {
    let world = World::new(BINARY).await;
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("postgresql://worker:secret@{}/odoo", silent.local_addr().unwrap());
    let worker = world.worker_with("w1", &[("DATABASE_URL", &url)]);
    silent.accept().unwrap();

    worker.signal(Signal::TERM).unwrap();

    assert!(worker.wait(Duration::from_secs(3)).await.unwrap().success());
}

#[tokio::test]
async fn bad_configuration_names_variable_and_value_and_exits_78() {
    for (variable, value) in
        [("WORKER_LEASE_SECONDS", "1"), ("HTTP_TIMEOUT_SECONDS", "fast"), ("LOG_FORMAT", "xml"), ("RUST_LOG", "a=b=c")]
    {
        let output = Command::new(BINARY)
            .args(["drain"])
            .env("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/none")
            .env(variable, value)
            .output()
            .unwrap();

        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{error}");
        assert!(error.contains(&format!("{variable}={value}")) && !error.contains("hunter2"), "{error}");
    }
    let output = Command::new(BINARY).arg("run").env_remove("DATABASE_URL").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DATABASE_URL is not set"));
}

#[tokio::test]
async fn check_says_what_works_and_what_does_not() {
    let world = World::new(BINARY).await;

    let output = world.command(&["check"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("@bot:double.test, device DOUBLE"), "{text}");

    world.homeserver.forget_device();
    let output = world.command(&["check"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no device id"));

    let role = world.launch.url().split("//").nth(1).unwrap().split(':').next().unwrap().to_owned();
    world.client.batch_execute(&format!("REVOKE DELETE ON matrix_outbox FROM \"{role}\"")).await.unwrap();
    let output = world.command(&["check"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("lacks matrix_outbox: DELETE"));
}

/// The worker's role can do its work, which every other test shows, and nothing else.
#[tokio::test]
async fn everything_that_the_worker_does_not_need_is_refused_to_its_role() {
    let world = World::new(BINARY).await;
    world.enqueue("!case:double.test", "x").await;
    world.client.batch_execute("CREATE TABLE res_users (id serial, password text)").await.unwrap();
    let (client, connection) = tokio_postgres::connect(&world.launch.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);

    let forbidden = [
        "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id) VALUES (1, 'x', '!x', '{}', 'x')",
        "UPDATE matrix_outbox SET txn_id = 'x'",
        "TRUNCATE matrix_outbox",
        "UPDATE matrix_log SET status = 'ok'",
        "DELETE FROM matrix_log",
        "TRUNCATE matrix_log",
        "INSERT INTO matrix_backend (name, homeserver_url) VALUES ('x', 'https://x')",
        "UPDATE matrix_backend SET homeserver_url = 'https://x'",
        "DELETE FROM matrix_backend",
        "SELECT password FROM res_users",
        "CREATE TABLE mine (id integer)",
        "DROP TABLE matrix_lane",
        "UPDATE matrix_encrypted_room SET room_id = 'x'",
        "DELETE FROM matrix_encrypted_room",
        "INSERT INTO matrix_crypto_request (backend_id, kind) VALUES (1, 'new_device')",
        "DELETE FROM matrix_thread",
        "ALTER TABLE matrix_outbox DISABLE TRIGGER ALL",
        "SELECT nextval('matrix_outbox_id_seq')",
        "CREATE ROLE other",
        "COPY matrix_log TO PROGRAM 'true'",
    ];
    for statement in forbidden {
        let refused = client.batch_execute(statement).await.expect_err(statement);
        let state = refused.code().expect(statement).code();
        assert_eq!(state, "42501", "{statement}: {refused}");
    }
    report::record(
        "forbidden statements as the worker's role",
        "writing Odoo's tables and old log rows, reading other tables, CREATE and DROP, programs on the server; refused (42501)",
        &format!("{} of {} refused", forbidden.len(), forbidden.len()),
    );
}

/// For every error code in Logs, Odoo says what to do about it.
#[test]
fn odoo_has_a_hint_for_every_error_code() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let hints = read("odoo_addon/mail_matrix/models/matrix_log/hints.py");
    let words = read("odoo_addon/mail_matrix/tools/words.py");
    let codes = read("src/message/code.rs");
    let error = read("src/matrix/error.rs");
    let refusals = error.split("#[derive").next().unwrap();
    let quoted = |line: &str| Some(line.split('"').nth(1)?.to_owned());
    let own = codes.lines().filter(|line| line.contains("&str = \"org.odoo.")).filter_map(quoted);
    let lists = refusals.split_once("ACCOUNT_REFUSED").unwrap().1;
    let foreign = lists.split('"').skip(1).step_by(2).map(str::to_owned);
    let mut codes: Vec<_> = own.chain(foreign).map(|code| (code, None)).collect();
    let of_odoo = words.lines().filter(|line| line.starts_with("ERROR_"));
    codes.extend(of_odoo.map(|line| (quoted(line).unwrap(), line.split(' ').next())));

    assert!(codes.len() > 30, "the lists were not found: {codes:?}");
    for (code, _) in &codes {
        let name = codes.iter().find_map(|(other, name)| name.filter(|_| other == code));
        let is_named = name.is_some_and(|name| hints.contains(&format!("words.{name}:")));
        assert!(is_named || hints.contains(&format!("\"{code}\":")), "Odoo has no hint for {code}");
    }
}

/// Odoo has words for each state of a device's keys, and no others: the table, the worker and Odoo list the same ones.
#[test]
fn odoo_has_words_for_every_state_of_the_keys() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let quoted =
        |text: &str, quote: char| text.split(quote).skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let migration = read("odoo_addon/mail_matrix/sql/migrations/0008_encryption.sql");
    let allowed = migration.split_once("matrix_crypto_state CHECK").unwrap().1.split_once("))").unwrap().0;
    let worker = read("src/store/crypto.rs");
    let written = worker.split_once("impl KeysState").unwrap().1.split_once("\n}").unwrap().0;
    let words = read("odoo_addon/mail_matrix/tools/words.py");
    let listed = words.split_once("KEYS_STATES = [").unwrap().1.split_once(']').unwrap().0;
    let mut known: BTreeSet<_> = listed.lines().filter_map(|line| Some(line.split('"').nth(1)?.to_owned())).collect();
    known.insert("ok".to_owned());

    assert_eq!(known.len(), 4, "{known:?}");
    assert_eq!(quoted(allowed, '\''), known);
    assert_eq!(quoted(written, '"'), known);
}

/// `status` counts as failed what Odoo's own filter shows as failed.
#[test]
fn odoo_and_the_worker_agree_on_what_has_not_failed() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let filters = read("odoo_addon/mail_matrix/views/matrix_log_search_views.xml");
    let filter = filters.split_once("('error_code', 'not in', (").unwrap().1.split_once(')').unwrap().0;
    let quoted = filter.split('\'').skip(1).step_by(2).collect::<BTreeSet<_>>();

    assert_eq!(quoted, NOT_FAILED.into_iter().collect());
}

/// A state that was seen with another configuration counts nowhere, or Odoo would show as stopped what the worker sends.
#[test]
fn which_state_of_a_backend_counts_is_judged_alike_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| fs::read_to_string(path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let words = read(&root.join("odoo_addon/mail_matrix/tools/words.py"));
    let rule = words.split_once("STATE_COUNTS = \"").unwrap().1.split_once('"').unwrap().0;
    // These ask for the opposite, whether there is another configuration, or set the present one.
    let others = ["ring.sql", "status_reset.sql", "status_resumed.sql"];
    let mut places = 0;

    for folder in ["sql", "odoo_addon/mail_matrix/models/matrix_backend", "odoo_addon/mail_matrix/models/matrix_lane"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() || others.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            let text = read(&path);
            places += text.matches(rule).count() + text.matches("SQL(words.STATE_COUNTS)").count();
            let rest = text.replace(rule, "");

            let compares = |operator: &str| rest.contains(&format!("config_version {operator} b.config_version"));
            assert!(
                !["=", "<>", "<", "<=", ">", ">="].iter().any(|one| compares(one)),
                "{path:?} has a rule of its own"
            );
        }
    }
    assert_eq!(places, 5, "places that judge whether a state counts");
}
