//! `lanes`: which rooms and people wait for messages, and why.

use std::time::Duration;

use serde::Serialize;

use super::{
    CliError, backends, json, open, print,
    table::{Align, Table},
};
use crate::{config::Config, duration::words, message::BackendId, store::LaneReport};

#[derive(Serialize)]
struct Report {
    lanes: Vec<LaneReport>,
    /// Not all lanes are shown.
    is_cut: bool,
}

pub(super) async fn lanes(
    config: &Config,
    only: Option<BackendId>,
    is_blocked: bool,
    most: u16,
    as_json: bool,
) -> Result<(), CliError> {
    let store = open(config)?;
    store.check_contract().await?;
    if let Some(id) = only {
        backends::chosen(&store, Some(id)).await?;
    }
    // One more than is shown, to know whether there are more.
    let mut lanes = store.report_lanes(only, i32::from(most) + 1, is_blocked).await?;
    let is_cut = lanes.len() > usize::from(most);
    lanes.truncate(most.into());
    let report = Report { lanes, is_cut };
    print(&if as_json { json(&report)? } else { text(&report, is_blocked) });
    Ok(())
}

fn text(report: &Report, is_blocked: bool) -> String {
    if report.lanes.is_empty() {
        return if is_blocked { "No room is in trouble." } else { "Nothing waits." }.to_owned();
    }
    let more = if report.is_cut { "There are more lanes: see --limit and --backend.\n" } else { "" };
    format!("{}{more}", table(&report.lanes))
}

pub(super) fn table(lanes: &[LaneReport]) -> Table {
    let mut table = Table::new(&[
        ("LANE", Align::Left),
        ("WAITING", Align::Right),
        ("HEAD", Align::Right),
        ("FOR", Align::Right),
        ("ATTEMPTS", Align::Right),
        ("RETRY IN", Align::Right),
        ("LEASED BY", Align::Left),
        ("LEASE LEFT", Align::Right),
    ]);
    for lane in lanes {
        table.row(cells(lane), lane.last_error.clone());
    }
    table
}

fn cells(lane: &LaneReport) -> Vec<String> {
    let seconds =
        |seconds: Option<f64>| seconds.map(|s| words(Duration::from_secs_f64(s.max(0.0)))).unwrap_or_default();
    vec![
        lane.lane.clone(),
        lane.waiting.to_string(),
        lane.head_id.map(|id| id.to_string()).unwrap_or_default(),
        seconds(lane.head_seconds),
        if lane.attempts == 0 { String::new() } else { lane.attempts.to_string() },
        seconds(lane.retry_seconds),
        lane.owner.clone().unwrap_or_default(),
        seconds(lane.lease_seconds),
    ]
}
