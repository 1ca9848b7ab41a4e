//! Queries about lanes and their messages, where the claim does not contain enough.

use std::{collections::HashSet, time::Duration};

use tokio_postgres::Row;

use super::{Store, StoreError, backlog::seconds, value};
use crate::message::{BackendId, Lane, MessageId, TxnId};

pub(super) const ENCRYPTED_LANES: &str = include_str!("../../sql/encrypted_lanes.sql");

/// How many messages of a lane [`Store::first_of`] reads.
const FIRST: i32 = 100;

/// A message of a lane.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub id: MessageId,
    pub txn_id: TxnId,
    /// Its failed row in the log, if it has one: a lower number is an earlier row.
    pub failed_row: Option<i64>,
}

impl Store {
    /// Which of these messages may be sent unencrypted to an encrypted room, as their record allows it now.
    pub async fn consents(&self, ids: &[MessageId]) -> Result<HashSet<MessageId>, StoreError> {
        match self.query(include_str!("../../sql/consents.sql"), &[&ids]).await {
            Ok(rows) => rows.iter().map(|row| value(row, 0)).collect(),
            // Earlier contracts only have the consent from when the messages were queued.
            Err(StoreError::Contract(_)) => Ok(ids.iter().copied().collect()),
            Err(error) => Err(error),
        }
    }

    /// Those lanes whose room was encrypted once.
    pub async fn encrypted_lanes(&self, backend: BackendId, lanes: &[Lane]) -> Result<HashSet<Lane>, StoreError> {
        let names: Vec<_> = lanes.iter().map(Lane::as_str).collect();
        let rows = self.query(ENCRYPTED_LANES, &[&backend, &names]).await?;
        rows.iter().map(|row| Ok(Lane::new(value::<&str>(row, "lane")?))).collect()
    }

    /// The first messages of a lane, more than a claim ever contains.
    pub async fn first_of(&self, lane: &Lane) -> Result<Vec<Waiting>, StoreError> {
        let rows = self.query(include_str!("../../sql/first_of_lane.sql"), &[&lane.as_str(), &FIRST]).await?;
        let read = |row: &Row| {
            let txn_id = TxnId::new(value::<&str>(row, "txn_id")?);
            Ok(Waiting { id: value(row, "id")?, txn_id, failed_row: value(row, "failed_row")? })
        };
        rows.iter().map(read).collect()
    }

    /// Whether a message waits behind `id` in its lane.
    pub async fn waits_behind(&self, lane: &Lane, id: MessageId) -> Result<bool, StoreError> {
        let rows = self.query(include_str!("../../sql/waits_behind.sql"), &[&lane.as_str(), &id]).await?;
        rows.first().map_or(Ok(false), |row| value(row, 0))
    }

    /// For how long the message `id`, which waits in `lane`, has had its failed row in the log; `None` if it has none.
    pub async fn logged_for(&self, lane: &Lane, id: MessageId) -> Result<Option<Duration>, StoreError> {
        let rows = self.query(include_str!("../../sql/logged_for.sql"), &[&lane.as_str(), &id]).await?;
        Ok(seconds(rows.first().map(|row| value(row, "logged_seconds")).transpose()?.flatten()))
    }
}
