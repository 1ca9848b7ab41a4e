//! The bot whose messages people read.

use odoo_matrix_worker::{
    crypto::{CryptoError, Device},
    matrix::Homeserver,
    message::{RoomId, TxnId},
    store::{Following, Store},
};
use serde_json::json;
use stack::synapse::{Synapse, User};

use super::{Place, homeserver};
use crate::account::Account;

/// The worker's account, on one device whose keys are in a database.
pub(crate) struct Bot {
    pub(crate) device: Device,
    place: Place,
}

impl Bot {
    /// Opened as by a worker that has just begun to follow the account.
    pub(crate) async fn open(
        account: &Account,
        store: &Store,
        following: &Following,
        synapse: &Synapse,
        user: &User,
    ) -> Result<Self, CryptoError> {
        Self::open_with(account, store, following, homeserver(synapse, user), user).await
    }

    /// The same, by a homeserver that is reached in a certain way.
    pub(crate) async fn open_with(
        account: &Account,
        store: &Store,
        following: &Following,
        homeserver: Homeserver,
        user: &User,
    ) -> Result<Self, CryptoError> {
        let device = Device::open(store, &account.keys, following, homeserver.clone(), false).await?;
        let mut place = Place::new(homeserver, user).await;
        if let Some(since) = device.since().await? {
            place.since = since;
        }
        let mut bot = Self { device, place };
        bot.hear().await?;
        Ok(bot)
    }

    pub(crate) async fn hear(&mut self) -> Result<(), CryptoError> {
        let synced = self.place.next().await;
        self.device.hear(&synced.device, &synced.next_batch).await
    }

    /// Writes a text under a transaction id; returns the id of the event.
    pub(crate) async fn write(&self, room: &str, body: &str, txn_id: &str) -> Result<String, CryptoError> {
        let name = RoomId::parse(room).unwrap();
        let seen = self.device.room(&name, &|| true).await?;
        let content = json!({ "msgtype": "m.text", "body": body, "org.odoo.outbox": txn_id }).to_string();
        let encrypted = self.device.encrypt(&seen, "m.room.message", &content, &|| true).await?;
        let sent = self.place.homeserver.send_encrypted(&name, &TxnId::new(txn_id), encrypted.content).await?;
        Ok(sent.as_str().to_owned())
    }
}
