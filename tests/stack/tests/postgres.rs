//! The throw-away PostgreSQL that all other tests use.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failing step fails the test; a child process reports by its output"
)]

use std::process::Command;
use std::time::Duration;

use stack::postgres::{self, Options, Postgres, Shutdown};

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let server = postgres::shared().await;
    let (one, other) = (server.database("mine").await, server.database("mine").await);

    one.connect().await.unwrap().batch_execute("CREATE TABLE only_here ()").await.unwrap();

    let found = other.connect().await.unwrap().query_one("SELECT to_regclass('only_here') IS NULL", &[]).await.unwrap();
    assert!(found.get::<_, bool>(0));
    assert_ne!(one.url(), other.url());
}

#[tokio::test]
async fn a_database_copies_its_template() {
    let server = postgres::shared().await;
    let template = server.database("template").await;
    template.connect().await.unwrap().batch_execute("CREATE TABLE copied (); SELECT pg_sleep(0)").await.unwrap();

    let copy = loop {
        // The session of the line above may still be ending on the server.
        if let Ok(copy) = server.create_database("copy", Some(template.name()), &server.server().role).await {
            break copy;
        }
    };

    let found = copy.connect().await.unwrap().query_one("SELECT to_regclass('copied') IS NOT NULL", &[]).await.unwrap();
    assert!(found.get::<_, bool>(0));
}

#[tokio::test]
async fn a_stopped_cluster_comes_back_at_its_port_with_its_data() {
    let server = Postgres::cluster(Options { durable: true, ..Options::default() }).await.unwrap();
    let database = server.database("kept").await;
    database.connect().await.unwrap().batch_execute("CREATE TABLE kept ()").await.unwrap();

    for how in [Shutdown::Fast, Shutdown::Immediate] {
        server.stop(how).await.unwrap();
        database.connect().await.expect_err("nobody listens while it is stopped");
        server.start_again().await.unwrap();
    }

    database.connect().await.unwrap().batch_execute("SELECT FROM kept").await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let server = Postgres::cluster(Options::default()).await.unwrap();
    let database = server.database("closed").await;

    let refused = server.server().with_role(&server.server().role, "guessed").connect(database.name()).await;

    refused.expect_err("TCP asks for the password");
}

/// The re-run of this very test binary dies of SIGKILL while its cluster runs.
#[tokio::test]
async fn a_killed_process_leaves_no_server_and_no_folder() {
    if std::env::var_os("STACK_TEST_DIE").is_some() {
        let server = Postgres::cluster(Options::default()).await.unwrap();
        println!("port {}", server.server().port);
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
    }
    let temporary = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temporary.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "--nocapture", "a_killed_process_leaves_no_server_and_no_folder"]);
    again.env("STACK_TEST_DIE", "1").env("TMPDIR", temporary.path());

    let output = again.output().unwrap();

    let text = String::from_utf8_lossy(&output.stdout);
    let (_, port) = text.split_once("port ").unwrap_or_else(|| panic!("no cluster was started: {output:?}"));
    let port: u16 = port.lines().next().unwrap().parse().unwrap();
    let gone = async {
        while std::fs::read_dir(temporary.path()).unwrap().next().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the folder is removed");
    std::net::TcpListener::bind(("127.0.0.1", port)).expect("nobody listens any more");
}
