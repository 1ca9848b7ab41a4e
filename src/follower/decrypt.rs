//! Events of encrypted rooms: decrypted before Odoo gets them. Of those that cannot be read Odoo gets the reason, and the text later if their
//! keys still come.

use std::{
    convert::Infallible,
    future::pending,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::{account::Account, batch::Batch, file_keys, post::Odoo};
use crate::{
    crypto::{CryptoError, Decrypted, Opened},
    matrix::{ENCRYPTED, Homeserver, Names, RoomEvent},
    message::{EventId, Outcome, RoomId, UserId},
};

/// How long the events of one call wait for keys that are missing: keys usually arrive before the event, or right after it.
const KEYS_COME_WITHIN: Duration = Duration::from_secs(10);

const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Account {
    /// The batch as Odoo can read it.
    pub(super) async fn decrypted(&self, device: Option<&Opened>, batch: &Batch) -> Batch {
        // Once for all events: nobody can hold up the others with many events that have no key.
        let mut until = None;
        let mut readable = Vec::with_capacity(batch.events().len());
        for event in batch.events() {
            if event.json["type"] != ENCRYPTED {
                readable.push(event.clone());
            } else if let Some(opened) = device {
                match self.readable(opened, event, &mut until).await {
                    Ok(event) => readable.extend(event),
                    Err(error) => match self.begin_again(opened, &error).await {},
                }
            } else if self.asking.encrypts {
                readable.push(self.unreadable(event, "the keys of the account's device cannot be used"));
            }
            // Otherwise nobody has asked for what is written in encrypted rooms.
        }
        batch.with(readable)
    }

    /// What Odoo gets of an encrypted event, if anything.
    async fn readable(
        &self,
        opened: &Opened,
        event: &RoomEvent,
        until: &mut Option<Instant>,
    ) -> Result<Option<RoomEvent>, CryptoError> {
        let device = &opened.device;
        // Others that were encrypted with the same key are awaited, and nothing more is to be expected within seconds.
        let is_hopeless = device.awaits_key_of(&event.json).await;
        let mut is_awaited = false;
        loop {
            match device.decrypt(&event.json).await? {
                Decrypted::Event { kind, content } => {
                    device.forget_late(&event.id).await?;
                    return Ok(event.decrypted(&kind, file_keys::sealed(content, &self.keys)));
                }
                Decrypted::Nothing => return Ok(None),
                Decrypted::Unreadable(reason) => return Ok(Some(self.unreadable(event, &reason))),
                Decrypted::NoKey { reason, .. } if is_awaited => return Ok(Some(self.unreadable(event, reason))),
                Decrypted::NoKey { may_come: true, .. }
                    if !is_hopeless
                        && Instant::now() < *until.get_or_insert_with(|| Instant::now() + KEYS_COME_WITHIN) =>
                {
                    sleep(LOOK_AGAIN).await;
                }
                // Looks once more afterwards: the key may have come before it was awaited.
                Decrypted::NoKey { .. } => {
                    device.await_key(&event.json).await?;
                    is_awaited = true;
                }
            }
        }
    }

    fn unreadable(&self, event: &RoomEvent, reason: &str) -> RoomEvent {
        warn!(event.id = %event.id, reason, "An encrypted event cannot be read; Odoo logs why");
        self.context.metrics.inbound_unreadable.inc();
        event.unreadable(reason)
    }

    /// Passes on the events whose keys have come after all. Returns how many Odoo has accepted.
    pub(super) async fn forward_late(&self, homeserver: &Homeserver, odoo: &Odoo<'_>, me: &UserId) -> i64 {
        let Some(opened) = odoo.device else { return 0 };
        let mut accepted = 0;
        for (room, id) in opened.device.take_late().await {
            match self.late(opened, homeserver, me, (&room, &id)).await {
                Ok(Some(event)) => {
                    info!(event.id = %id, "The key of an event has come after all");
                    let mut batch = Batch::default();
                    batch.add(event, &Names::default());
                    accepted += self.post(odoo, &batch).await;
                }
                Ok(None) => continue,
                Err(error) => match self.begin_again(opened, &error).await {},
            }
            if let Err(error) = opened.device.forget_late(&id).await {
                match self.begin_again(opened, &error).await {}
            }
        }
        accepted
    }

    /// An event that was awaited, if it can be read now.
    async fn late(
        &self,
        opened: &Opened,
        homeserver: &Homeserver,
        me: &UserId,
        (room, id): (&RoomId, &EventId),
    ) -> Result<Option<RoomEvent>, CryptoError> {
        let device = &opened.device;
        let found = match homeserver.event(me, room, id).await {
            Ok(found) => found,
            // The account is no longer in the room, for example.
            Err(error) if matches!(error.outcome(), Outcome::Forbidden(_) | Outcome::Rejected(_)) => None,
            Err(error) => {
                debug!(event.id = %id, %error, "An event whose key has come could not be fetched; trying again");
                device.late_again(id).await;
                return Ok(None);
            }
        };
        let Some(event) = found else { return device.forget_late(id).await.map(|()| None) };
        match device.decrypt(&event.json).await? {
            Decrypted::Event { kind, content } => {
                let readable = event.decrypted(&kind, file_keys::sealed(content, &self.keys));
                if readable.is_none() {
                    device.forget_late(id).await?;
                }
                Ok(readable)
            }
            // It is the key of later messages only.
            Decrypted::NoKey { .. } => Ok(None),
            Decrypted::Nothing | Decrypted::Unreadable(_) => device.forget_late(id).await.map(|()| None),
        }
    }

    /// The keys are read again. Whoever waits for this drops it, and reads the events again with the new device.
    async fn begin_again(&self, opened: &Opened, error: &CryptoError) -> Infallible {
        warn!(%error, "An event could not be decrypted; the keys of the account are read again");
        self.context.devices.give_up(self.asking.backend, &opened.device);
        pending().await
    }
}
