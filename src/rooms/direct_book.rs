//! What this process knows of an account's `m.direct`, and what is to be added to it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::direct;
use crate::{
    matrix::DirectList,
    message::{RoomId, UserId},
};

/// One per backend. The list on the homeserver can only be replaced as a whole, so there is one writer at a time.
#[derive(Default)]
pub(crate) struct DirectBook {
    /// The list as it was last read or written.
    seen: Mutex<DirectList>,
    wanted: Mutex<Vec<(UserId, RoomId)>>,
    /// Held while the list is read and written. A lock of its own kind, because both are calls to the homeserver.
    writing: tokio::sync::Mutex<()>,
}

impl DirectBook {
    pub(crate) fn lists(&self, person: &UserId, room: &RoomId) -> bool {
        direct::rooms_of(&lock(&self.seen), person).contains(room)
    }

    pub(crate) fn saw(&self, list: DirectList) {
        *lock(&self.seen) = list;
    }

    /// Asks for an entry, and waits until it is this caller's turn to write, or until another caller has written it.
    /// Returns all entries that are to be written now; an empty list when somebody else has taken ours.
    pub(crate) async fn turn(
        &self,
        person: &UserId,
        room: &RoomId,
    ) -> (tokio::sync::MutexGuard<'_, ()>, Vec<(UserId, RoomId)>) {
        lock(&self.wanted).push((person.clone(), room.clone()));
        let turn = self.writing.lock().await;
        (turn, std::mem::take(&mut lock(&self.wanted)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
