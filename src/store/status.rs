//! The state of backends that all workers share.

use std::time::Duration;

use super::{Store, StoreError, millis, value};
use crate::message::{BackendId, Failure, State, UserId};

impl Store {
    /// The homeserver limits the account for `pause`.
    pub async fn limited(&self, backend: BackendId, config_version: i32, pause: Duration) -> Result<(), StoreError> {
        self.query(include_str!("../../sql/status_limited.sql"), &[&backend, &config_version, &millis(pause)])
            .await
            .map(drop)
    }

    /// Takes the next slot of a limited backend; false when another worker has it.
    pub async fn take_slot(&self, backend: BackendId) -> Result<bool, StoreError> {
        Ok(!self.query(include_str!("../../sql/status_slot.sql"), &[&backend]).await?.is_empty())
    }

    /// Gives back a slot for which no lane could be leased: another worker may have it.
    pub async fn give_slot_back(&self, backend: BackendId) -> Result<(), StoreError> {
        self.query(include_str!("../../sql/status_slot_back.sql"), &[&backend]).await.map(drop)
    }

    /// A limited backend accepted a message.
    pub async fn eased(&self, backend: BackendId) -> Result<(), StoreError> {
        self.query(include_str!("../../sql/status_eased.sql"), &[&backend]).await.map(drop)
    }

    /// The backend may not send until a probe succeeds.
    pub async fn stopped(
        &self,
        backend: BackendId,
        config_version: i32,
        state: State,
        reason: &Failure,
    ) -> Result<(), StoreError> {
        let reason = super::complete::bounded(&reason.to_string());
        self.query(include_str!("../../sql/status_stopped.sql"), &[&backend, &config_version, &state.as_str(), &reason])
            .await
            .map(drop)
    }

    /// Takes the turn to probe a stopped backend; false when another worker has it.
    pub async fn take_probe(&self, backend: BackendId) -> Result<bool, StoreError> {
        Ok(!self.query(include_str!("../../sql/status_probe.sql"), &[&backend]).await?.is_empty())
    }

    /// The homeserver answered: the account is `user`, with the token of `device`.
    pub async fn back(
        &self,
        backend: BackendId,
        config_version: i32,
        user: &UserId,
        device: Option<&str>,
    ) -> Result<(), StoreError> {
        self.query(include_str!("../../sql/status_ok.sql"), &[&backend, &config_version, &user.as_str(), &device])
            .await
            .map(drop)
    }

    /// Forgets a state that was seen with another configuration than the present one.
    pub async fn reset(&self, backend: BackendId) -> Result<(), StoreError> {
        self.query(include_str!("../../sql/status_reset.sql"), &[&backend]).await.map(drop)
    }

    /// Pauses these backends until they are resumed. Returns each with the state that it had.
    pub async fn pause(&self, backends: &[BackendId], reason: &str) -> Result<Vec<(BackendId, String)>, StoreError> {
        let rows = self.query(include_str!("../../sql/status_paused.sql"), &[&backends, &reason]).await?;
        rows.iter().map(|row| Ok((value(row, 0)?, value(row, 1)?))).collect()
    }

    /// Lets these backends send again, whatever stopped them. Returns those that were stopped, each with the state that it had.
    pub async fn resume(&self, backends: &[BackendId]) -> Result<Vec<(BackendId, String)>, StoreError> {
        let rows = self.query(include_str!("../../sql/status_resumed.sql"), &[&backends]).await?;
        rows.iter().map(|row| Ok((value(row, 0)?, value(row, 1)?))).collect()
    }

    /// Whether a message of the backend was tried and accepted between two moments, given by their age, and is logged.
    pub async fn passed_between(
        &self,
        backend: BackendId,
        from_ago: Duration,
        until_ago: Duration,
    ) -> Result<bool, StoreError> {
        let (from, until) = (from_ago.as_secs_f64(), until_ago.as_secs_f64());
        let rows = self.query(include_str!("../../sql/passed_between.sql"), &[&backend, &from, &until]).await?;
        rows.first().map_or(Ok(false), |row| value(row, 0))
    }
}
