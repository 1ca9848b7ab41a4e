//! Events whose key has not come: remembered with the device's keys, so that they are read if it still comes, whichever worker has the
//! account then.

use std::time::{Duration, Instant};

use matrix_sdk_crypto::store::types::RoomKeyInfo;
use ruma::{OwnedRoomId, OwnedTransactionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CryptoError, Device};
use crate::message::{EventId, RoomId};

/// For how long the device remembers one. It begins anew with each worker, because no clock of a machine is to be trusted.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// The most events that are remembered. The oldest ones are forgotten first: anybody in a room can write what has no key.
const MOST: usize = 100;

/// For so many of them at a time the account's other devices are asked.
const MOST_ASKED: usize = 20;

/// Under which they are stored.
const NAME: &str = "org.odoo.late";

/// An event without its key.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Late {
    room: String,
    event: String,
    /// Identifies the key in the room.
    session: String,
    #[serde(skip, default = "Instant::now")]
    since: Instant,
    /// Identifies what the account's other devices were asked.
    #[serde(default)]
    request: Option<OwnedTransactionId>,
    /// The key may have come since.
    #[serde(skip)]
    may_be_readable: bool,
}

impl Late {
    fn new(event: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            room: text(&event["room_id"])?,
            event: text(&event["event_id"])?,
            session: text(&event["content"]["session_id"])?,
            since: Instant::now(),
            request: None,
            may_be_readable: false,
        })
    }

    fn has_key_of(&self, other: &Self) -> bool {
        (&self.room, &self.session) == (&other.room, &other.session)
    }
}

impl Device {
    /// Reads what was remembered before. While nobody had the device, keys may have come.
    pub(super) async fn recall_late(&self) -> Result<(), CryptoError> {
        let Some(stored) = self.machine.store().get_custom_value(NAME).await? else { return Ok(()) };
        let mut late: Vec<Late> = serde_json::from_slice(&stored)
            .map_err(|error| CryptoError::unusable("the list of events without a key", &error))?;
        for one in &mut late {
            let Ok(room) = OwnedRoomId::try_from(one.room.as_str()) else { continue };
            one.may_be_readable = self.machine.store().get_inbound_group_session(&room, &one.session).await?.is_some();
        }
        *self.late.lock().await = late;
        Ok(())
    }

    /// Remembers an event whose key has not come, and asks for the key.
    pub async fn await_key(&self, event: &Value) -> Result<(), CryptoError> {
        let Some(mut new) = Late::new(event) else { return Ok(()) };
        let mut late = self.late.lock().await;
        if late.iter().any(|one| one.event == new.event) {
            return Ok(());
        }
        let is_asked = late.iter().any(|one| one.has_key_of(&new) && one.request.is_some());
        if !is_asked && late.iter().filter(|one| one.request.is_some()).count() < MOST_ASKED {
            new.request = self.request_key(event).await?;
        }
        let is_new_request = new.request.is_some();
        late.push(new);
        let beyond = late.len().saturating_sub(MOST);
        let mut place = 0..;
        let mut is_gone = |one: &Late| place.next() < Some(beyond) || one.since.elapsed() > KEPT_FOR;
        self.drop_late(&mut late, |one| is_gone(one)).await?;
        drop(late);
        if is_new_request { self.send_requests().await } else { Ok(()) }
    }

    /// Whether the key of this event was already waited for in vain.
    pub async fn awaits_key_of(&self, event: &Value) -> bool {
        let Some(new) = Late::new(event) else { return false };
        self.late.lock().await.iter().any(|one| one.has_key_of(&new))
    }

    /// Keys have come.
    pub(super) async fn keys_came(&self, keys: &[RoomKeyInfo]) {
        if keys.is_empty() {
            return;
        }
        for one in self.late.lock().await.iter_mut() {
            one.may_be_readable |= keys.iter().any(|key| key.room_id == one.room && key.session_id == one.session);
        }
    }

    /// The events whose keys may have come, in the order in which they were read. Each is returned once.
    pub async fn take_late(&self) -> Vec<(RoomId, EventId)> {
        let mut late = self.late.lock().await;
        let mut found = Vec::new();
        for one in late.iter_mut().filter(|one| one.may_be_readable) {
            one.may_be_readable = false;
            found.extend(RoomId::parse(&one.room).ok().map(|room| (room, EventId::new(&*one.event))));
        }
        found
    }

    /// The event could not be fetched: it is looked at again with the next ones.
    pub async fn late_again(&self, id: &EventId) {
        for one in self.late.lock().await.iter_mut().filter(|one| one.event == id.as_str()) {
            one.may_be_readable = true;
        }
    }

    /// Forgets an event: it was read, or is gone.
    pub async fn forget_late(&self, id: &EventId) -> Result<(), CryptoError> {
        let mut late = self.late.lock().await;
        if late.iter().any(|one| one.event == id.as_str()) {
            self.drop_late(&mut late, |one| one.event == id.as_str()).await?;
        }
        Ok(())
    }

    /// Stores `late` without those that are gone; what was asked stays asked as long as an event waits for the same key. It is locked
    /// meanwhile: an older list must not overwrite a newer one.
    async fn drop_late(&self, late: &mut Vec<Late>, mut is_gone: impl FnMut(&Late) -> bool) -> Result<(), CryptoError> {
        let gone: Vec<_> = late.extract_if(.., |one| is_gone(one)).collect();
        let mut over = Vec::new();
        for mut one in gone {
            let Some(request) = one.request.take() else { continue };
            match late.iter_mut().find(|other| other.has_key_of(&one)) {
                Some(other) => other.request = Some(request),
                None => over.push(request),
            }
        }
        let stored = serde_json::to_vec(late).expect("texts are JSON");
        self.machine.store().set_custom_value(NAME, stored).await?;
        for request in over {
            self.machine.store().delete_outgoing_secret_requests(&request).await?;
        }
        Ok(())
    }
}
