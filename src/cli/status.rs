//! `status`: how delivery goes, for a person or a program.

use std::time::Duration;

use serde::Serialize;

use super::{
    CliError, json, open, print,
    table::{Align, Table, plain},
};
use crate::{
    config::Config,
    duration::words,
    store::{BackendReport, COUNTED, ServerReport, SnapshotReport, WorkerReport, counted},
};

/// A worker writes its row every 10 s.
const MISSED_AFTER: f64 = 120.0;

/// Far from full, and far beyond what a worker that listens leaves behind.
const QUEUE_WARNED_FROM: f64 = 0.1;

#[derive(Serialize)]
struct Report {
    backends: Vec<BackendReport>,
    workers: Vec<WorkerReport>,
    server: ServerReport,
    /// What a person should look at, in plain words.
    warnings: Vec<String>,
}

pub(super) async fn status(config: &Config, as_json: bool) -> Result<(), CliError> {
    let store = open(config)?;
    store.check_contract().await?;
    let backends = store.report_backends().await?;
    let workers = store.report_workers().await?;
    let server = store.report_server().await?;
    let warnings = warnings(&backends, &workers, &server);
    let report = Report { backends, workers, server, warnings };
    print(&if as_json { json(&report)? } else { text(&report) });
    Ok(())
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    if report.backends.is_empty() {
        text.push_str("No backend: add one in Odoo under Matrix > Backends.\n");
    } else {
        text.push_str(&backends(&report.backends).to_string());
    }
    text.push('\n');
    if report.workers.is_empty() {
        text.push_str("No worker was seen within the last day.\n");
    } else {
        text.push_str(&workers(&report.workers).to_string());
    }
    text.push('\n');
    for warning in &report.warnings {
        text.push_str(&format!("warning  {}\n", plain(warning)));
    }
    if !report.server.sees_all_sessions {
        text.push_str(
            "note     this role may not see since when the transactions of others run; a superuser may GRANT \
             pg_read_all_stats to it\n",
        );
    }
    text
}

fn backends(backends: &[BackendReport]) -> Table {
    let mut table = Table::new(&[
        ("BACKEND", Align::Left),
        ("STATE", Align::Left),
        ("WAITING", Align::Right),
        ("OLDEST", Align::Right),
        ("SENT/HOUR", Align::Right),
        ("FAILED/HOUR", Align::Right),
    ]);
    for backend in backends {
        let state = if backend.is_active { backend.state.as_str() } else { "inactive" };
        table.row(
            vec![
                format!("{} «{}»", backend.id, backend.name),
                state.to_owned(),
                counted(if backend.has_more { COUNTED + 1 } else { backend.waiting }),
                backend.oldest_seconds.map(told).unwrap_or_default(),
                backend.sent_last_hour.to_string(),
                backend.failed_last_hour.to_string(),
            ],
            explanation(backend),
        );
    }
    table
}

/// Why a backend does not send, since when, and what ends it.
fn explanation(backend: &BackendReport) -> Option<String> {
    let reason = backend.reason.as_deref().unwrap_or("no reason was given");
    let since = backend.state_seconds.map_or_else(String::new, |seconds| format!(", since {}", told(seconds)));
    let due = backend.due_seconds.unwrap_or_default();
    let what_ends_it = match backend.state.as_str() {
        "ok" => return None,
        "paused" => format!("until `odoo-matrix-worker resume --backend {}`", backend.id),
        "rate_limited" if due > 0.0 => format!("sends again in {}", told(due)),
        "rate_limited" => "sends slowly".to_owned(),
        _ => format!("the homeserver is asked again in {}", told(due)),
    };
    Some(format!("{reason}{since}; {what_ends_it}"))
}

fn workers(workers: &[WorkerReport]) -> Table {
    let mut table = Table::new(&[
        ("WORKER", Align::Left),
        ("HOST", Align::Left),
        ("PID", Align::Right),
        ("VERSION", Align::Left),
        ("RUNS FOR", Align::Right),
        ("SEEN", Align::Right),
        ("SENT", Align::Right),
        ("FAILED", Align::Right),
    ]);
    for worker in workers {
        table.row(
            vec![
                worker.name.clone(),
                worker.hostname.clone().unwrap_or_default(),
                worker.pid.map(|pid| pid.to_string()).unwrap_or_default(),
                worker.version.clone().unwrap_or_default(),
                told(worker.started_seconds),
                format!("{} ago", told(worker.seen_seconds)),
                worker.sent_total.to_string(),
                worker.failed_total.to_string(),
            ],
            None,
        );
    }
    table
}

fn warnings(backends: &[BackendReport], workers: &[WorkerReport], server: &ServerReport) -> Vec<String> {
    let mut warnings = Vec::new();
    if workers.iter().all(|worker| worker.seen_seconds > MISSED_AFTER) {
        warnings.push("no worker was seen for 2 minutes: nothing is sent; start odoo-matrix-worker".to_owned());
    }
    for backend in backends.iter().filter(|backend| !backend.is_active && backend.waiting > 0) {
        warnings.push(format!(
            "messages wait for backend {}, which is not active: activate it in Odoo, or discard them there",
            backend.id
        ));
    }
    warnings.extend(server.oldest_snapshot.as_ref().map(snapshot));
    if server.notification_queue_usage > QUEUE_WARNED_FROM {
        warnings.push(format!(
            "the server's queue of notifications is {:.0} % full, and no COMMIT succeeds when it is: some session has LISTENed and \
             left its transaction open; look for it in pg_stat_activity and end it",
            server.notification_queue_usage * 100.0
        ));
    }
    warnings
}

fn snapshot(held: &SnapshotReport) -> String {
    let application = held.application.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let age = held.transaction_seconds.map_or_else(
        || format!("{} transactions old; since when is hidden from this role", held.transactions),
        |seconds| format!("{} old", told(seconds)),
    );
    let query = held.query_start.as_ref().map_or_else(String::new, |at| format!(", its last query began at {at}"));
    format!(
        "session {}{application} holds the oldest snapshot, {age}{query}: rows that were sent since cannot be cleaned up, which \
         slows claiming; let it end, or SELECT pg_terminate_backend({})",
        held.pid, held.pid
    )
}

fn told(seconds: f64) -> String {
    words(Duration::from_secs_f64(seconds.max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: ServerReport =
        ServerReport { notification_queue_usage: 0.0, sees_all_sessions: true, oldest_snapshot: None };

    fn backend(state: &str) -> BackendReport {
        BackendReport {
            id: 2,
            name: "Kanzlei".to_owned(),
            is_active: true,
            state: state.to_owned(),
            reason: Some("why".to_owned()),
            state_seconds: Some(61.0),
            due_seconds: Some(5.0),
            waiting: 0,
            has_more: false,
            oldest_seconds: None,
            sent_last_hour: 0,
            failed_last_hour: 0,
        }
    }

    #[test]
    fn each_state_says_what_ends_it() {
        assert_eq!(explanation(&backend("ok")), None);
        for (state, wanted) in [
            ("paused", "why, since 1 min; until `odoo-matrix-worker resume --backend 2`"),
            ("rate_limited", "why, since 1 min; sends again in 5 s"),
            ("unauthorized", "why, since 1 min; the homeserver is asked again in 5 s"),
        ] {
            assert_eq!(explanation(&backend(state)).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn a_notification_queue_that_fills_is_warned_of() {
        let server = ServerReport { notification_queue_usage: 0.25, ..CALM };

        assert!(warnings(&[], &[], &server).iter().any(|warning| warning.contains("25 % full")));
        assert!(!warnings(&[], &[], &CALM).iter().any(|warning| warning.contains("full")));
    }

    #[test]
    fn a_snapshot_whose_start_is_hidden_is_told_by_its_transactions() {
        let held = SnapshotReport {
            pid: 7,
            application: Some("pg_dump".to_owned()),
            transactions: 123_456,
            transaction_seconds: None,
            query_start: None,
        };

        let told = snapshot(&held);

        assert!(told.contains("session 7 (pg_dump)") && told.contains("123456 transactions old"), "{told}");
    }
}
