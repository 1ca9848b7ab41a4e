//! `status`: how delivery goes, for a person or a program.

use std::time::Duration;

use serde::Serialize;

use super::{
    CliError, json, open, print,
    table::{Align, Table, plain},
    warnings::{self, Warning},
};
use crate::{
    config::Config,
    duration::words,
    store::{BackendReport, FollowerReport, KeysReport, ServerReport, Store, StoreError, WorkerReport},
};

#[derive(Serialize)]
pub(super) struct Report {
    backends: Vec<BackendReport>,
    pub(super) workers: Vec<WorkerReport>,
    /// Accounts whose messages from Matrix go to Odoo.
    followed: Vec<FollowerReport>,
    /// The devices of accounts that encrypt.
    encryption: Vec<KeysReport>,
    server: ServerReport,
    /// What a person should look at, in plain words.
    warnings: Vec<Warning>,
}

impl Report {
    /// When the report was made, by the database's clock.
    pub(super) fn at(&self) -> String {
        format!("{} UTC", self.server.now)
    }

    /// Whether anything that is shown needs attention.
    pub(super) fn needs_attention(&self) -> bool {
        let has_trouble = self.encryption.iter().any(|device| device.state.trouble().is_some());
        !self.warnings.is_empty()
            || has_trouble
            || self.backends.iter().any(|backend| backend.is_active && backend.state != "ok")
    }
}

pub(super) async fn status(config: &Config, as_json: bool) -> Result<(), CliError> {
    let store = open(config)?;
    store.check_contract().await?;
    let report = look(&store).await?;
    print(&if as_json { json(&report)? } else { text(&report) });
    Ok(())
}

pub(super) async fn look(store: &Store) -> Result<Report, StoreError> {
    let backends = store.report_backends().await?;
    let workers = store.report_workers().await?;
    let followed = store.report_followers().await?;
    let encryption = store.report_keys().await?;
    let server = store.report_server().await?;
    let warnings = warnings::all(&backends, &workers, &server);
    Ok(Report { backends, workers, followed, encryption, server, warnings })
}

pub(super) fn text(report: &Report) -> String {
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
    if !report.followed.is_empty() {
        text.push_str(&followed(&report.followed).to_string());
        text.push('\n');
    }
    if !report.encryption.is_empty() {
        text.push_str(&devices(&report.encryption).to_string());
        text.push('\n');
    }
    for warning in &report.warnings {
        text.push_str(&format!("warning  {}\n         fix: {}\n", plain(&warning.text), plain(&warning.fix)));
    }
    for backend in report.backends.iter().filter(|backend| backend.direct_rooms > 0) {
        text.push_str(&direct_rooms(backend));
    }
    if !report.server.sees_all_sessions {
        text.push_str(
            "note     this role cannot see how long the transactions of others have been running; a superuser can GRANT \
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
                backend.waiting.to_string(),
                backend.oldest_seconds.map(ago).unwrap_or_default(),
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
    let since = backend.state_seconds.map_or_else(String::new, |seconds| format!(", since {}", ago(seconds)));
    let due = backend.due_seconds.unwrap_or_default();
    let what_ends_it = match backend.state.as_str() {
        "ok" => return None,
        "paused" => format!("until `odoo-matrix-worker resume --backend {}`", backend.id),
        "rate_limited" if due > 0.0 => format!("sends again in {}", ago(due)),
        "rate_limited" => "sends slowly".to_owned(),
        _ => format!("the homeserver is asked again in {}", ago(due)),
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
                ago(worker.started_seconds),
                format!("{} ago", ago(worker.seen_seconds)),
                worker.sent_total.to_string(),
                worker.failed_total.to_string(),
            ],
            None,
        );
    }
    table
}

fn followed(accounts: &[FollowerReport]) -> Table {
    let mut table = Table::new(&[
        ("FROM MATRIX", Align::Left),
        ("STATE", Align::Left),
        ("READ", Align::Right),
        ("TO ODOO", Align::Right),
        ("LAST", Align::Right),
    ]);
    for account in accounts {
        let since = |seconds: Option<f64>| seconds.map(|seconds| format!("{} ago", ago(seconds))).unwrap_or_default();
        table.row(
            vec![
                format!("{} «{}»", account.id, account.name),
                account.word().to_owned(),
                since(account.synced_seconds),
                account.forwarded_total.to_string(),
                since(account.forwarded_seconds),
            ],
            account.trouble(),
        );
    }
    table
}

fn devices(devices: &[KeysReport]) -> Table {
    let mut table = Table::new(&[
        ("ENCRYPTION", Align::Left),
        ("STATE", Align::Left),
        ("DEVICE", Align::Left),
        ("FINGERPRINT", Align::Left),
        ("READ", Align::Right),
    ]);
    for device in devices {
        table.row(
            vec![
                format!("{} «{}»", device.id, device.name),
                device.state.as_str().to_owned(),
                device.device.clone().unwrap_or_default(),
                device.fingerprint.clone().unwrap_or_default(),
                device.synced_seconds.map(|seconds| format!("{} ago", ago(seconds))).unwrap_or_default(),
            ],
            device.state.trouble().map(|trouble| device.reason.clone().unwrap_or_else(|| trouble.to_owned())),
        );
    }
    table
}

fn direct_rooms(backend: &BackendReport) -> String {
    let rooms = if backend.direct_rooms == 1 { "room" } else { "rooms" };
    format!("note     backend {} has {} direct {rooms}\n", backend.id, backend.direct_rooms)
}

/// An age in words.
pub(super) fn ago(seconds: f64) -> String {
    words(Duration::from_secs_f64(seconds.max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Count;

    fn backend(state: &str) -> BackendReport {
        BackendReport {
            id: 2,
            name: "Kanzlei".to_owned(),
            is_active: true,
            state: state.to_owned(),
            reason: Some("why".to_owned()),
            state_seconds: Some(61.0),
            due_seconds: Some(5.0),
            waiting: Count::default(),
            oldest_seconds: None,
            sent_last_hour: 0,
            failed_last_hour: 0,
            direct_rooms: 0,
            people_unreached: 0,
        }
    }

    #[test]
    fn one_direct_room_is_one_room() {
        let note = |direct_rooms| super::direct_rooms(&BackendReport { direct_rooms, ..backend("ok") });
        assert_eq!(note(1), "note     backend 2 has 1 direct room\n");
        assert_eq!(note(2), "note     backend 2 has 2 direct rooms\n");
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
}
