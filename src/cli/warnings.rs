//! What a person should look at, in plain words, with what to do about it.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::status::ago;
use crate::store::{BackendReport, ServerReport, SnapshotReport, WorkerReport};

/// A worker writes its row every 20 s.
const MISSED_AFTER: f64 = 120.0;

/// Far from full, but far more than listeners that work leave in it.
const QUEUE_WARNED_FROM: f64 = 0.1;

pub(super) struct Warning {
    pub(super) subject: &'static str,
    pub(super) text: String,
    pub(super) fix: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.text, self.fix)
    }
}

/// A program gets one sentence.
impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(super) fn all(backends: &[BackendReport], workers: &[WorkerReport], server: &ServerReport) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |subject, text: String, fix: String| warnings.push(Warning { subject, text, fix });
    if workers.iter().all(|worker| worker.seen_seconds > MISSED_AFTER) {
        warn(
            "workers",
            "no worker was seen for 2 minutes: nothing is sent".to_owned(),
            "start odoo-matrix-worker (a service: `systemctl start odoo-matrix-worker@NAME`); one that has just started is \
             seen within a few seconds"
                .to_owned(),
        );
    }
    for (name, processes) in namesakes(workers) {
        let places: Vec<_> = processes.iter().map(|worker| place(worker)).collect();
        warn(
            "worker names",
            format!(
                "{} running workers have the name {name} ({}): messages are safe, but the log cannot distinguish them",
                places.len(),
                places.join("; ")
            ),
            "give each its own WORKER_NAME (of a service: in its worker.env) and restart it".to_owned(),
        );
    }
    for backend in backends.iter().filter(|backend| !backend.is_active && backend.waiting.n > 0) {
        warn(
            "backends",
            format!("messages wait for backend {}, which is not active", backend.id),
            "activate it in Odoo, or discard them there".to_owned(),
        );
    }
    for backend in backends.iter().filter(|backend| backend.people_unreached > 0) {
        let people = match backend.people_unreached {
            1 => "1 person".to_owned(),
            count => format!("{count} people"),
        };
        warn(
            "direct messages",
            format!("{people} could not be reached by direct message from backend {} within a day", backend.id),
            "look for the reasons in Odoo under Matrix > Logs".to_owned(),
        );
    }
    if let Some(held) = &server.oldest_snapshot {
        warn("snapshots", snapshot(held), format!("let it end, or SELECT pg_terminate_backend({})", held.pid));
    }
    if server.notification_queue_usage > QUEUE_WARNED_FROM {
        warn(
            "notifications",
            format!(
                "the server's queue of notifications is {:.0} % full, and no COMMIT succeeds when it is: some session has LISTENed \
                 and left its transaction open",
                server.notification_queue_usage * 100.0
            ),
            "look for it in pg_stat_activity and end it".to_owned(),
        );
    }
    warnings
}

/// Names that more than one running process has. All but one of them are listed as `<name>/<incarnation>`.
fn namesakes(workers: &[WorkerReport]) -> BTreeMap<&str, Vec<&WorkerReport>> {
    let mut named: BTreeMap<&str, Vec<&WorkerReport>> = BTreeMap::new();
    for worker in workers.iter().filter(|worker| worker.seen_seconds <= MISSED_AFTER) {
        let name = worker.name.split('/').next().unwrap_or_default();
        named.entry(name).or_default().push(worker);
    }
    named.retain(|_, processes| processes.len() > 1);
    named
}

fn place(worker: &WorkerReport) -> String {
    let host = worker.hostname.as_deref().unwrap_or("unknown host");
    worker.pid.map_or_else(|| host.to_owned(), |pid| format!("process {pid} on {host}"))
}

fn snapshot(held: &SnapshotReport) -> String {
    let application = held.application.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let age = held.transaction_seconds.map_or_else(
        || format!("{} transactions old; its start is hidden from this role", held.transactions),
        |seconds| format!("{} old", ago(seconds)),
    );
    let query = held.query_start.as_ref().map_or_else(String::new, |at| format!(", its last query began at {at}"));
    format!(
        "session {}{application} holds the oldest snapshot, {age}{query}: rows that were sent since cannot be cleaned up, which \
         slows claiming",
        held.pid
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: ServerReport = ServerReport {
        now: String::new(),
        notification_queue_usage: 0.0,
        sees_all_sessions: true,
        oldest_snapshot: None,
    };

    #[test]
    fn a_notification_queue_that_fills_gives_a_warning() {
        let server = ServerReport { notification_queue_usage: 0.25, ..CALM };

        assert!(all(&[], &[], &server).iter().any(|warning| warning.text.contains("25 % full")));
        assert!(!all(&[], &[], &CALM).iter().any(|warning| warning.text.contains("full")));
    }

    #[test]
    fn a_snapshot_whose_start_is_hidden_is_described_by_its_transactions() {
        let held = SnapshotReport {
            pid: 7,
            application: Some("pg_dump".to_owned()),
            transactions: 123_456,
            transaction_seconds: None,
            query_start: None,
        };

        let text = snapshot(&held);

        assert!(text.contains("session 7 (pg_dump)") && text.contains("123456 transactions old"), "{text}");
    }
}
