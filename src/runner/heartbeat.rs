//! Shows in Odoo that this worker is running.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::sleep};
use tracing::{info, warn};

use super::Shared;
use crate::{config, matrix};

/// Odoo and `status` report a worker as missing after two minutes.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Writes the row again and again until `is_over`. Only the task that writes the row deletes it: another one's DELETE
/// could come before a heartbeat that is still on its way.
pub(super) async fn beat(shared: Arc<Shared>, is_over: Arc<Notify>) {
    let (store, host) = (&shared.context.store, config::host_name());
    let totals = &shared.context.metrics.totals;
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut listed = None;
    // It may have been set back while no worker was running.
    let mut is_clock_set_back = true;
    // Waits until it is known what this process is called, or for the end.
    tokio::select! {
        () = store.relisted(None) => {}
        () = is_over.notified() => return,
    }
    loop {
        let (sent, failed) = totals.read();
        match store.worker_seen(&host, count(sent), count(failed)).await {
            Ok(seen) => {
                listed = Some(seen.name);
                is_clock_set_back |= seen.is_clock_set_back;
            }
            Err(error) => warn!(%error, "The heartbeat could not be written"),
        }
        if is_clock_set_back {
            is_clock_set_back = !follow_clock(&shared).await;
        }
        // Waits for the next heartbeat, another process of the same name, or the end.
        tokio::select! {
            () = sleep(HEARTBEAT) => {}
            () = store.relisted(listed.as_deref()), if listed.is_some() => {}
            () = is_over.notified() => break,
        }
    }
    if let Err(error) = store.worker_gone(&host).await {
        warn!(%error, "The heartbeat row could not be deleted");
    }
}

/// Ends what would wait for times that the clock of the database showed before it was set back. Returns whether the database could be asked.
async fn follow_clock(shared: &Shared) -> bool {
    match shared.context.store.clock_set_back(config::LONGEST_LEASE, matrix::LONGEST_PAUSE).await {
        Ok(0) => true,
        Ok(rows) => {
            info!(
                rows,
                "The clock of the database was set back; leases and pauses that would last too long were ended"
            );
            shared.wakeups.wake();
            true
        }
        Err(error) => {
            warn!(%error, "Could not find out whether the clock of the database was set back; trying again");
            false
        }
    }
}
