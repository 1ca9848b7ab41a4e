//! The device of one account: it publishes its keys on the homeserver, learns about other devices, and writes in encrypted rooms.
//! Only the worker that follows the account has it.

mod asking;
mod decrypt;
mod exchange;
mod late;
mod preflight;
mod readers;
mod recovery;
mod room;
mod setup;
mod signature;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex as StdMutex};

use matrix_sdk_crypto::{CollectStrategy, DecryptionSettings, EncryptionSyncChanges, OlmMachine, TrustRequirement};
use ruma::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedUserId, UInt, api::client::sync::sync_events::DeviceLists,
    events::AnyToDeviceEvent, serde::Raw,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;

pub use self::{
    decrypt::Decrypted,
    readers::{NoKey, Unverified},
    room::{Encrypted, EncryptedRoom},
    signature::{Secret, Signature},
};
use self::{exchange::LastClaim, late::Late, readers::Readers};
use super::{error::CryptoError, rows::KeysError, store::KeyStore};
use crate::{
    matrix::{DeviceNews, Homeserver},
    message::{RoomId, UserId},
    seal::Keys,
    store::{Following, KeysFound, KeysState, Store},
};

pub struct Device {
    machine: OlmMachine,
    homeserver: Homeserver,
    /// One exchange of keys at a time: two at once would claim the same keys twice. Who is to be asked about changes in between only.
    exchange: Mutex<Option<LastClaim>>,
    /// In each room one message at a time, from the share of its key to its encryption.
    rooms: StdMutex<HashMap<RoomId, Arc<Mutex<Readers>>>>,
    /// Who gets the key of a room.
    strategy: CollectStrategy,
    late: Mutex<Vec<Late>>,
}

impl Device {
    /// Takes the keys of the account's device, creates them if it has none, and publishes them on the homeserver. Nothing is uploaded
    /// before it is certain that the device has no keys but these.
    ///
    /// # Errors
    /// [`CryptoError::Refused`] and [`CryptoError::Removed`] say what a person has to do, and are stored where Odoo shows it.
    pub async fn open(
        store: &Store,
        keys: &Keys,
        following: &Following,
        homeserver: Homeserver,
        only_verified: bool,
    ) -> Result<Self, CryptoError> {
        let whoami = match homeserver.whoami().await {
            Err(error) if error.is_unknown_device() => {
                return Err(preflight::forgotten(store, following, &homeserver, error).await);
            }
            whoami => whoami?,
        };
        let (me, id) = (whoami.user_id, whoami.device_id.ok_or_else(preflight::no_device)?);
        let asked = store.setup_asked(following).await?;
        let mut found = store.take_keys(following, &me, &id).await?.ok_or(KeysError::Fenced)?;
        if asked.is_some() && preflight::is_other_device(&found, &me, &id) {
            if !store.start_again(found.taken, &me, &id).await? {
                return Err(KeysError::Fenced.into());
            }
            found = KeysFound { account: me.clone(), device: id.clone(), doubt: None, is_new: true, ..found };
        }
        let strategy = if only_verified { CollectStrategy::IdentityBasedStrategy } else { CollectStrategy::AllDevices };
        let opened = async {
            preflight::taken(&found, &me, &id)?;
            let kept = KeyStore::open(store.clone(), keys.clone(), found.taken).await?;
            preflight::at_homeserver(&homeserver, &kept, &found).await?;
            Self::begin(kept, homeserver, &me, &id, strategy).await
        };
        let opened = opened.await;
        let (state, reason) = match &opened {
            Ok(_) => (KeysState::Ok, None),
            Err(CryptoError::Refused { state, reason }) => (*state, Some(reason.as_str())),
            Err(CryptoError::Keys(error @ KeysError::Lost)) => (KeysState::Lost, Some(&*error.to_string())),
            Err(_) => return opened,
        };
        store.keys_are(found.taken, state, reason).await?;
        match opened {
            Ok(device) => {
                device.set_up(store, keys, found.taken, asked).await?;
                Ok(device)
            }
            Err(error) => {
                setup::refused(store, found.taken, asked, &error).await?;
                Err(error)
            }
        }
    }

    async fn begin(
        kept: KeyStore,
        homeserver: Homeserver,
        me: &UserId,
        id: &str,
        strategy: CollectStrategy,
    ) -> Result<Self, CryptoError> {
        let user =
            OwnedUserId::try_from(me.as_str()).map_err(|error| CryptoError::unusable("the account's ID", &error))?;
        let machine = OlmMachine::with_store(&user, &OwnedDeviceId::from(id), kept, None).await?;
        // Keys are asked for only once they have been waited for, and given to nobody who asks.
        machine.set_room_key_requests_enabled(false);
        machine.set_room_key_forwarding_enabled(false);
        let (exchange, late) = (Mutex::default(), Mutex::default());
        let device = Self { machine, homeserver, exchange, rooms: StdMutex::default(), strategy, late };
        device.recall_late().await?;
        device.exchange(&|| true).await?;
        Ok(device)
    }

    /// The position up to which the device has received updates from the homeserver.
    pub async fn since(&self) -> Result<Option<String>, CryptoError> {
        Ok(self.machine.store().next_batch_token().await?)
    }

    /// The same with its account.
    pub(crate) async fn place(&self) -> Result<Option<(UserId, String)>, CryptoError> {
        let me = UserId::parse(self.machine.user_id().as_str())
            .map_err(|error| CryptoError::unusable("the account's ID", &error))?;
        Ok(self.since().await?.map(|since| (me, since)))
    }

    /// Updates may have been missed: the devices of everybody are asked for before the next message.
    pub async fn has_missed(&self) -> Result<(), CryptoError> {
        let _turn = self.exchange.lock().await;
        Ok(self.machine.mark_all_tracked_users_as_dirty().await?)
    }

    /// The fingerprint of this device: people compare it with what their client shows.
    pub fn fingerprint(&self) -> String {
        self.machine.identity_keys().ed25519.to_base64()
    }

    /// Processes the homeserver's updates for the device, up to `next_batch`, and sends the answers that they need.
    pub async fn hear(&self, news: &DeviceNews, next_batch: &str) -> Result<(), CryptoError> {
        let to_device_events: Vec<Raw<AnyToDeviceEvent>> = read(&news.events)?;
        let changed_devices: DeviceLists = read(&news.device_lists)?;
        let one_time_keys_counts: BTreeMap<OneTimeKeyAlgorithm, UInt> = read(&news.one_time_keys)?;
        let fallback_keys: Option<Vec<OneTimeKeyAlgorithm>> = read(&news.fallback_keys)?;
        let changes = EncryptionSyncChanges {
            to_device_events,
            changed_devices: &changed_devices,
            one_time_keys_counts: &one_time_keys_counts,
            unused_fallback_keys: fallback_keys.as_deref(),
            next_batch_token: Some(next_batch.to_owned()),
        };
        let settings = DecryptionSettings { sender_device_trust_requirement: TrustRequirement::Untrusted };
        let mut claimed = self.exchange.lock().await;
        let (_, keys) = self.machine.receive_sync_changes(changes, &settings).await?;
        self.keys_came(&keys).await;
        self.exchange_in(&mut claimed, &|| true).await
    }

    fn lock_of(&self, room: &RoomId) -> Arc<Mutex<Readers>> {
        let mut rooms = self.rooms.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        rooms.entry(room.clone()).or_default().clone()
    }
}

/// A part of an answer. If it is missing, it is empty.
fn read<T: DeserializeOwned + Default>(value: &Value) -> Result<T, CryptoError> {
    if value.is_null() {
        return Ok(T::default());
    }
    T::deserialize(value).map_err(|error| CryptoError::unusable("what the homeserver tells the device", &error))
}
