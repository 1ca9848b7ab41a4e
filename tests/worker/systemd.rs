//! The worker as a service of systemd: what it reports, and the files in `deploy/`.

use std::{collections::BTreeSet, process::Command, time::Duration};

use odoo_matrix_worker::{
    environment::VARIABLES,
    metrics::{Delivery, Metrics, OfBackend},
};
use stack::{homeserver::Fault, process::Signal, world::World};
use tempfile::TempDir;
use tokio::{net::UnixDatagram, time::timeout};

use crate::BINARY;

/// The socket that systemd gives a service of `Type=notify`.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path: path.to_str().unwrap().to_owned(), _folder: folder }
    }

    /// Reads until a message has a line that begins with `wanted`, and returns the line.
    async fn hears(&self, wanted: &str) -> String {
        let mut heard = Vec::new();
        let reading = async {
            loop {
                let mut buffer = [0; 4096];
                let length = self.socket.recv(&mut buffer).await.unwrap();
                let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
                if let Some(line) = message.lines().find(|line| line.starts_with(wanted)) {
                    return line.to_owned();
                }
                heard.push(message);
            }
        };
        let found = timeout(Duration::from_secs(30), reading).await;
        found.unwrap_or_else(|_| panic!("no {wanted} among {heard:?}"))
    }
}

#[tokio::test]
async fn it_reports_that_it_runs_what_waits_that_it_moves_and_that_it_stops() {
    let world = World::new(BINARY).await;
    let manager = Manager::new();
    let worker = world.worker_with("w1", &[("NOTIFY_SOCKET", &manager.path), ("WATCHDOG_USEC", "4000000")]);

    manager.hears("READY=1").await;
    assert_eq!(manager.hears("STATUS=").await, "STATUS=Delivering: nothing waits");
    manager.hears("WATCHDOG=1").await;
    manager.hears("WATCHDOG=1").await;
    worker.signal(Signal::TERM).unwrap();
    manager.hears("STOPPING=1").await;
}

#[tokio::test]
async fn its_status_line_names_the_backlog_and_the_backend_that_is_stopped() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_always(Fault::Refuse { status: 401, errcode: "M_UNKNOWN_TOKEN" });
    world.enqueue_many(&["!case:double.test"], "message", 2).await;
    let manager = Manager::new();

    let _worker = world.worker_with("w1", &[("NOTIFY_SOCKET", &manager.path)]);

    // The first look may come before the first answer of the homeserver, the second one does not.
    let looks = [manager.hears("STATUS=").await, manager.hears("STATUS=").await];
    assert!(looks[1].starts_with("STATUS=Delivering: 2 messages wait, the oldest for"), "{looks:?}");
    assert!(looks[1].ends_with(&format!("; backend {} is unauthorized", world.backend)), "{looks:?}");
}

/// The watchdog must not kill a service that waits for an upgrade of Odoo, and its status must say what it waits for.
#[tokio::test]
async fn without_its_tables_it_is_started_pings_and_says_what_it_waits_for() {
    let world = World::new(BINARY).await;
    world.client.batch_execute("ALTER TABLE matrix_outbox RENAME TO away").await.unwrap();
    let manager = Manager::new();

    let _worker = world.worker_with("w1", &[("NOTIFY_SOCKET", &manager.path), ("WATCHDOG_USEC", "4000000")]);

    manager.hears("READY=1").await;
    let status = manager.hears("STATUS=Waiting").await;
    assert!(status.contains("install mail_matrix"), "{status}");
    manager.hears("WATCHDOG=1").await;
    manager.hears("WATCHDOG=1").await;
}

/// The example has every variable that the worker reads, and no others.
#[test]
fn the_example_environment_has_every_variable() {
    let mut documented: BTreeSet<_> = VARIABLES.into_iter().map(str::to_owned).collect();
    // systemd sets it.
    documented.remove("CREDENTIALS_DIRECTORY");

    let example = include_str!("../../deploy/worker.env.example");
    let assigned = example.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let shown: BTreeSet<_> = assigned.map(|(name, _)| name).filter(is_name).map(str::to_owned).collect();

    assert_eq!(shown, documented);
}

/// An alert on a name that does not exist would never fire.
#[test]
fn every_alert_uses_metrics_that_exist() {
    let metrics = Metrics::default();
    metrics.backend_up.get_or_create(&OfBackend { backend: 1 }).set(1);
    metrics.following.get_or_create(&OfBackend { backend: 1 }).set(1);
    metrics.deliveries.get_or_create(&Delivery { event_type: "manual".to_owned(), status: "failed" }).inc();
    let page = metrics.encode();
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';

    let rules = include_str!("../../deploy/alerts.yml");
    let expressions = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let names: BTreeSet<_> = expressions
        .flat_map(|expression| expression.split(|c| !is_part(c)))
        .filter(|word| word.starts_with("matrix_"))
        .collect();

    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let samples: Vec<_> = page.lines().filter(|line| line.split([' ', '{']).next() == Some(name)).collect();
        assert!(!samples.is_empty(), "{name} is not on the page:\n{page}");
    }
}

/// Prometheus' own tool judges the rules where it is installed (Debian's package prometheus).
#[test]
fn alerts_fire_when_they_must() {
    let root = env!("CARGO_MANIFEST_DIR");
    let promtool = |arguments: &[&str]| Command::new("promtool").args(arguments).current_dir(root).output();
    let Ok(checked) = promtool(&["check", "rules", "deploy/alerts.yml"]) else { return };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let tested = promtool(&["test", "rules", "tests/alerts.test.yml"]).unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
}

/// `man` and completion show every command and every variable.
#[test]
fn the_help_names_every_variable() {
    let help = Command::new(BINARY).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();

    // systemd sets it.
    for variable in VARIABLES.iter().filter(|name| **name != "CREDENTIALS_DIRECTORY") {
        assert!(help.contains(variable), "{variable} is missing:\n{help}");
    }
}

/// As the unit starts it on a host where a file of the instance is missing: systemd gives an empty credential instead.
#[test]
fn without_a_file_of_its_instance_it_ends_with_one_line_and_is_not_started_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token-key"), "\n").unwrap();
    for url in [Some("\n"), None] {
        let file = folder.path().join("database-url");
        let _ = std::fs::remove_file(&file);
        if let Some(url) = url {
            std::fs::write(&file, url).unwrap();
        }

        let mut command = Command::new(BINARY);
        let output =
            command.arg("run").env("CREDENTIALS_DIRECTORY", folder.path()).env("RUST_LOG", "off").output().unwrap();

        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("DATABASE_URL") && error.contains("configure"), "{error}");
    }
    let unit = include_str!("../../deploy/systemd/odoo-matrix-worker@.service");
    let prevented = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).unwrap();
    // 243: a credential that systemd itself cannot read.
    assert!(["78", "243"].iter().all(|code| prevented.split(' ').any(|word| word == *code)), "{prevented}");
    for credential in ["database-url", "token-key"] {
        assert!(
            unit.contains(&format!("SetCredential={credential}:\\n\n")),
            "no empty {credential} where its file is missing"
        );
    }
}

/// A key that is missing concerns one account, which says so; the service goes on for all others.
#[tokio::test]
async fn without_a_token_key_the_service_runs_and_the_account_says_what_is_missing() {
    let world = World::new(BINARY).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token-key"), "\n").unwrap();
    std::fs::write(folder.path().join("database-url"), world.launch.url()).unwrap();
    world.client.execute("UPDATE matrix_backend SET token_sealed = 'fernet:gAAAAA'", &[]).await.unwrap();
    world.enqueue("!case:double.test", "sealed").await;
    let credentials = folder.path().to_str().unwrap();

    let worker = world.worker_with("w1", &[("DATABASE_URL", ""), ("CREDENTIALS_DIRECTORY", credentials)]);

    let is_reported = "SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'misconfigured' AND reason LIKE '%MATRIX_TOKEN_KEY%')";
    world.until(is_reported).await;
    assert_eq!(worker.exit_status().unwrap(), None, "{}", worker.tail());
}
