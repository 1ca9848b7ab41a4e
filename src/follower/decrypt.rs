//! Events of encrypted rooms: decrypted before Odoo gets them.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tracing::warn;

use super::{account::Account, batch::Batch};
use crate::{
    crypto::{Decrypted, Opened},
    matrix::{ENCRYPTED, RoomEvent},
};

/// How long the events of one call wait for keys that are missing: keys usually arrive before the event, or right after it.
const KEYS_COME_WITHIN: Duration = Duration::from_secs(10);

const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Account {
    /// The batch as Odoo can read it, without the events that cannot be decrypted.
    pub(super) async fn decrypted(&self, device: Option<&Opened>, batch: &Batch) -> Batch {
        // Once for all events: nobody can hold up the others with many events that have no key.
        let mut until = None;
        let mut readable = Vec::with_capacity(batch.events().len());
        for event in batch.events() {
            if event.json["type"] != ENCRYPTED {
                readable.push(event.clone());
            } else if let Some(opened) = device {
                readable.extend(self.readable(opened, event, &mut until).await);
            } else {
                readable
                    .extend(self.unreadable(event, "the account's keys must not be used, or encryption is not set up"));
            }
        }
        batch.with(readable)
    }

    async fn readable(&self, opened: &Opened, event: &RoomEvent, until: &mut Option<Instant>) -> Option<RoomEvent> {
        loop {
            match opened.device.decrypt(&event.json).await {
                Ok(Decrypted::Event { kind, content }) => return event.decrypted(&kind, content),
                Ok(Decrypted::NoKey) => {
                    if Instant::now() >= *until.get_or_insert_with(|| Instant::now() + KEYS_COME_WITHIN) {
                        return self.unreadable(event, "its key did not come");
                    }
                    sleep(LOOK_AGAIN).await;
                }
                Ok(Decrypted::Unreadable(reason)) => return self.unreadable(event, &reason),
                Err(error) => {
                    warn!(%error, "An event could not be decrypted; the keys of the account are read again");
                    self.context.devices.give_up(self.asking.backend, &opened.device);
                    // Whoever waits for this drops it, and reads the events again with the new device.
                    pending().await
                }
            }
        }
    }

    fn unreadable(&self, event: &RoomEvent, reason: &str) -> Option<RoomEvent> {
        warn!(event.id = %event.id, reason, "An encrypted event cannot be read, and is not passed on to Odoo");
        self.context.metrics.inbound_refused.inc();
        None
    }
}
