//! The row that shows Odoo and `status` that this process is running.

use std::time::Duration;

use super::{Store, StoreError, int, millis, newest, value};

/// The result of a heartbeat.
pub struct Seen {
    /// The name under which this worker is listed.
    pub name: String,
    /// The clock of the database was set back since a worker was last seen.
    pub is_clock_set_back: bool,
}

/// With what Odoo wants to know: the newest contract of this worker, and what it can do beyond every other worker of its version.
/// `matrix.worker` in the addon reads it.
fn version() -> String {
    let encryption = if cfg!(feature = "encryption") { ".encryption" } else { "" };
    format!("{}+contract{}{encryption}", env!("CARGO_PKG_VERSION"), newest())
}

impl Store {
    /// Ends when the list of workers needs another row of this process: when it becomes known who has the name, or when that changes.
    pub async fn relisted(&self, listed: Option<&str>) {
        match listed {
            None => self.name.settled().await,
            Some(listed) => self.name.renamed(listed).await,
        }
    }

    /// The heartbeat row of this worker, which runs on `host`.
    pub async fn worker_seen(&self, host: &str, sent: i64, failed: i64) -> Result<Seen, StoreError> {
        let listed = self.name.listed().to_owned();
        let pid = int(std::process::id());
        let rows = self
            .query(
                include_str!("../../sql/worker_seen.sql"),
                &[&listed, &host, &pid, &version(), &sent, &failed, &self.name.owner],
            )
            .await?;
        let is_clock_set_back = rows.first().map_or(Ok(false), |row| value(row, 0))?;
        Ok(Seen { name: listed, is_clock_set_back })
    }

    /// Ends rests, pauses and leases that are further in the future than any worker sets them. Returns how many rows it changed.
    pub async fn clock_set_back(&self, longest_lease: Duration, longest_pause: Duration) -> Result<i64, StoreError> {
        let (lease, pause) = (millis(longest_lease), millis(longest_pause));
        let rows = self.query(include_str!("../../sql/clock_set_back.sql"), &[&lease, &pause]).await?;
        match self.query(include_str!("../../sql/clock_set_back_followers.sql"), &[&lease]).await {
            // Earlier contracts have no such accounts.
            Ok(_) | Err(StoreError::Contract(_)) => rows.first().map_or(Ok(0), |row| value(row, 0)),
            Err(error) => Err(error),
        }
    }

    /// Deletes the heartbeat row at a clean stop.
    pub async fn worker_gone(&self, host: &str) -> Result<(), StoreError> {
        let pid = int(std::process::id());
        self.query(include_str!("../../sql/worker_gone.sql"), &[&self.name.name, &self.name.owner, &host, &pid])
            .await
            .map(drop)
    }
}
