//! The row by which Odoo and `status` know that this process lives.

use super::{Store, StoreError, int};

impl Store {
    /// Ends when the list of workers needs another row of this process: now that it is known who has the name, or at a change.
    pub async fn relisted(&self, listed: Option<&str>) {
        match listed {
            None => self.name.settled().await,
            Some(listed) => self.name.renamed(listed).await,
        }
    }

    /// The heartbeat row of this worker, which runs on `host`. Returns the name that it is listed by.
    pub async fn worker_seen(&self, host: &str, sent: i64, failed: i64) -> Result<String, StoreError> {
        let listed = self.name.listed().to_owned();
        let pid = int(std::process::id());
        self.query(
            include_str!("../../sql/worker_seen.sql"),
            &[&listed, &host, &pid, &env!("CARGO_PKG_VERSION"), &sent, &failed, &self.name.owner],
        )
        .await?;
        Ok(listed)
    }

    /// Takes the heartbeat row away at a clean stop.
    pub async fn worker_gone(&self, host: &str) -> Result<(), StoreError> {
        let pid = int(std::process::id());
        self.query(include_str!("../../sql/worker_gone.sql"), &[&self.name.name, &self.name.owner, &host, &pid])
            .await
            .map(drop)
    }
}
