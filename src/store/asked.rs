//! What the sender of a lane asks about its messages in the rare cases where the claim does not say enough.

use std::collections::HashSet;

use super::{Store, StoreError, value};
use crate::message::{Lane, MessageId};

impl Store {
    /// Those of these messages whose record allows now that they are sent unencrypted to an encrypted room.
    pub async fn consents(&self, ids: &[MessageId]) -> Result<HashSet<MessageId>, StoreError> {
        match self.query(include_str!("../../sql/consents.sql"), &[&ids]).await {
            Ok(rows) => rows.iter().map(|row| value(row, 0)).collect(),
            // Earlier contracts only know what was agreed when the messages were queued.
            Err(StoreError::Contract(_)) => Ok(ids.iter().copied().collect()),
            Err(error) => Err(error),
        }
    }

    /// Whether a message waits behind `id` in its lane.
    pub async fn waits_behind(&self, lane: &Lane, id: MessageId) -> Result<bool, StoreError> {
        let rows = self.query(include_str!("../../sql/waits_behind.sql"), &[&lane.as_str(), &id]).await?;
        rows.first().map_or(Ok(false), |row| value(row, 0))
    }
}
