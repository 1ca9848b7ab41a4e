//! Shows in Odoo that this worker lives.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::sleep};
use tracing::warn;

use super::Shared;
use crate::config;

/// Odoo and `status` miss a worker after two minutes.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Writes the row again and again until `is_over`. Only the task that writes the row takes it away: another one's DELETE
/// could come before a heartbeat that is still on its way.
pub(super) async fn beat(shared: Arc<Shared>, is_over: Arc<Notify>) {
    let (store, host) = (&shared.context.store, config::host_name());
    let totals = &shared.context.metrics.totals;
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut listed = None;
    // Waits until it is known what this process is called, or for the end.
    tokio::select! {
        () = store.relisted(None) => {}
        () = is_over.notified() => return,
    }
    loop {
        let (sent, failed) = totals.read();
        match store.worker_seen(&host, count(sent), count(failed)).await {
            Ok(name) => listed = Some(name),
            Err(error) => warn!(%error, "The heartbeat could not be written"),
        }
        // Waits for the next heartbeat, another process of the same name, or the end.
        tokio::select! {
            () = sleep(HEARTBEAT) => {}
            () = store.relisted(listed.as_deref()), if listed.is_some() => {}
            () = is_over.notified() => break,
        }
    }
    if let Err(error) = store.worker_gone(&host).await {
        warn!(%error, "The heartbeat row could not be taken away");
    }
}
