//! The events with which the threads of records begin.

use super::{Store, StoreError, value};
use crate::message::{EventId, Lane, MessageId, RoomId};

/// The event with which a thread begins.
#[derive(Clone, Debug)]
pub struct Root {
    pub event: EventId,
    /// It is stored for as long as the record exists, and not only in the log.
    pub is_kept: bool,
}

impl Store {
    /// The event with which the thread of a message's record begins in `room`, if there is one.
    pub async fn thread_root(&self, lane: &Lane, id: MessageId, room: &RoomId) -> Result<Option<Root>, StoreError> {
        let sql = include_str!("../../sql/thread_root.sql");
        let rows = self.query(sql, &[&id, &lane.as_str(), &room.as_str()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Root { event: EventId::new(value::<String>(row, "root_event_id")?), is_kept: value(row, "is_kept")? }))
    }

    /// Stores the event with which the thread of a message's record begins in `room`.
    pub async fn keep_thread(
        &self,
        lane: &Lane,
        id: MessageId,
        room: &RoomId,
        root: &EventId,
    ) -> Result<(), StoreError> {
        let sql = include_str!("../../sql/thread_kept.sql");
        self.query(sql, &[&id, &lane.as_str(), &room.as_str(), &root.as_str()]).await.map(drop)
    }
}
