//! What is known about rooms, so that not every claim has to ask. It is kept only while this process follows the account and so notices
//! every change.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

#[cfg(feature = "encryption")]
use crate::crypto::EncryptedRoom;
use crate::message::{BackendId, RoomId, UserId};

/// More rooms than this are not kept.
const MOST_ROOMS: usize = 10_000;

/// The books of all accounts. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomBooks(Arc<Mutex<HashMap<BackendId, RoomBook>>>);

/// The rooms of one account.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomBook(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    /// Changes are noticed until then.
    heard_until: Option<Instant>,
    /// How many times something was forgotten.
    forgotten: u64,
    rooms: HashMap<RoomId, Seen>,
}

/// A room that takes messages, as it was seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    is_encrypted: bool,
    /// Of the people who were asked about, those who are in it or invited to it.
    people: HashSet<UserId>,
    /// Who should be able to read what is written there.
    #[cfg(feature = "encryption")]
    encryption: Option<Arc<EncryptedRoom>>,
}

/// Taken before a room is checked. What the check finds is kept only if nothing was forgotten since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(u64);

impl RoomBooks {
    pub(crate) fn of(&self, backend: BackendId) -> RoomBook {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(backend).or_default().clone()
    }
}

impl RoomBook {
    /// Changes are noticed until `then`: what is in the book can be relied upon.
    pub(crate) fn hears_until(&self, then: Instant) {
        self.lock().heard_until = Some(then);
    }

    /// Changes are not noticed any more.
    pub(crate) fn close(&self) {
        let mut pages = self.lock();
        pages.heard_until = None;
        pages.forget_all();
    }

    pub(crate) fn forget(&self, room: &RoomId) {
        let mut pages = self.lock();
        pages.forgotten += 1;
        pages.rooms.remove(room);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.lock().forgotten)
    }

    /// A room takes messages, and `person`, if any, is in it or invited to it.
    pub(crate) fn saw(&self, since: Mark, room: &RoomId, person: Option<&UserId>, is_encrypted: bool) {
        let mut pages = self.lock();
        if !pages.is_heard() || pages.forgotten != since.0 {
            return;
        }
        if pages.rooms.len() >= MOST_ROOMS {
            pages.rooms.clear();
        }
        let seen = pages.rooms.entry(room.clone()).or_default();
        seen.is_encrypted = is_encrypted;
        seen.people.extend(person.cloned());
    }

    /// Whether a room is encrypted that takes messages and that `person`, if any, is in or invited to; `None`: not known.
    pub(crate) fn is_encrypted(&self, room: &RoomId, person: Option<&UserId>) -> Option<bool> {
        let mut pages = self.lock();
        if !pages.is_heard() {
            pages.forget_all();
            return None;
        }
        let seen = pages.rooms.get(room)?;
        person.is_none_or(|person| seen.people.contains(person)).then_some(seen.is_encrypted)
    }

    /// How an encrypted room was read since `mark`.
    #[cfg(feature = "encryption")]
    pub(crate) fn saw_encryption(&self, since: Mark, room: &RoomId, encryption: &Arc<EncryptedRoom>) {
        self.saw(since, room, None, true);
        let mut pages = self.lock();
        let is_current = pages.forgotten == since.0;
        if let Some(seen) = pages.rooms.get_mut(room).filter(|_| is_current) {
            seen.encryption = Some(encryption.clone());
        }
    }

    /// How an encrypted room was read; `None`: it may have changed since.
    #[cfg(feature = "encryption")]
    pub(crate) fn encryption(&self, room: &RoomId) -> Option<Arc<EncryptedRoom>> {
        let mut pages = self.lock();
        if !pages.is_heard() {
            pages.forget_all();
            return None;
        }
        pages.rooms.get(room)?.encryption.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn is_heard(&self) -> bool {
        self.heard_until.is_some_and(|then| then > Instant::now())
    }

    fn forget_all(&mut self) {
        self.forgotten += 1;
        self.rooms.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_seen_before_a_change_or_while_changes_were_not_noticed_is_not_kept() {
        let (room, person) = (RoomId::parse("!a:x").unwrap(), UserId::parse("@anna:x").unwrap());
        let book = RoomBooks::default().of(1);
        let soon = || Instant::now() + Duration::from_secs(60);

        book.saw(book.mark(), &room, None, false);
        book.hears_until(soon());
        assert_eq!(book.is_encrypted(&room, None), None, "seen while changes were not noticed");

        let mark = book.mark();
        book.forget(&room);
        book.saw(mark, &room, None, false);
        assert_eq!(book.is_encrypted(&room, None), None, "changed while it was looked at");

        book.saw(book.mark(), &room, Some(&person), false);
        assert_eq!(book.is_encrypted(&room, Some(&person)), Some(false));
        assert_eq!(book.is_encrypted(&room, Some(&UserId::parse("@bert:x").unwrap())), None);

        book.hears_until(Instant::now());
        assert_eq!(book.is_encrypted(&room, None), None, "changes are not noticed any more");
        book.hears_until(soon());
        assert_eq!(book.is_encrypted(&room, None), None, "changes may have been missed");
    }
}
