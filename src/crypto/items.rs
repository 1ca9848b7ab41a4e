//! What must be kept for the device, as items of a kind with a key: made from the changes that the crypto machine passes on, and turned
//! back into them.

use std::collections::BTreeMap;

use matrix_sdk_crypto::{
    Account, DeviceData, Session, TrackedUser,
    olm::{
        InboundGroupSession, PickledAccount, PickledCrossSigningIdentity, PickledInboundGroupSession, PickledSession,
        PrivateCrossSigningIdentity,
    },
    store::types::{Changes, PendingChanges, SecretsInboxItem},
    vodozemac::Curve25519PublicKey,
};
use ruma::events::secret::request::SecretName;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::rows::KeysError;
use crate::store::ItemName;

/// One item: what it is, whose it is, and its value. All of it is sealed, and a digest identifies it in the database, because names are
/// private and other people can make them as long and strange as they like.
pub(super) struct Item {
    pub(super) kind: String,
    pub(super) parts: Vec<String>,
    pub(super) value: Zeroizing<String>,
}

/// Items to be written and to be removed. The last change of an item counts.
#[derive(Default)]
pub(super) struct Items(BTreeMap<ItemName, Option<Zeroizing<String>>>);

/// Everything that the items contain.
#[derive(Default)]
pub(super) struct Known {
    pub(super) pending: PendingChanges,
    pub(super) changes: Changes,
    pub(super) tracked: Vec<TrackedUser>,
    pub(super) custom: Vec<(String, Vec<u8>)>,
}

/// How an item is identified in the database.
fn name(kind: &str, parts: &[&str]) -> ItemName {
    let parts = serde_json::to_vec(parts).expect("texts are JSON");
    ItemName { kind: kind.to_owned(), key: format!("{:x}", Sha256::digest(parts)) }
}

impl Item {
    /// Reads an item that was unsealed, after checking that it is the one that was asked for.
    pub(super) fn open(found: &ItemName, text: &str) -> Result<Self, KeysError> {
        let broken = |reason: &str| KeysError::Unusable { kind: found.kind.clone(), reason: reason.to_owned() };
        let (kind, parts, value): (String, Vec<String>, String) =
            serde_json::from_str(text).map_err(|_| broken("it is not what was written"))?;
        let borrowed: Vec<&str> = parts.iter().map(String::as_str).collect();
        if name(&kind, &borrowed) != *found {
            return Err(broken("it belongs elsewhere"));
        }
        Ok(Self { kind, parts, value: Zeroizing::new(value) })
    }

    fn part(&self, index: usize) -> Result<&str, KeysError> {
        self.parts.get(index).map(String::as_str).ok_or_else(|| self.unusable(&"it has no name"))
    }

    /// The Matrix identifier that is the first part of the name.
    fn identifier<T: for<'a> TryFrom<&'a str>>(&self) -> Result<T, KeysError> {
        T::try_from(self.part(0)?).map_err(|_| self.unusable(&"its name is not an identifier of Matrix"))
    }

    fn parsed<T: DeserializeOwned>(&self) -> Result<T, KeysError> {
        // The parser's message may quote the text.
        let reason = |error: serde_json::Error| self.unusable(&format!("it cannot be read ({:?})", error.classify()));
        serde_json::from_str(&self.value).map_err(reason)
    }

    /// Says which item cannot be used, but never what it contains.
    fn unusable(&self, error: &impl std::fmt::Display) -> KeysError {
        KeysError::Unusable { kind: self.kind.clone(), reason: error.to_string() }
    }
}

impl Items {
    pub(super) fn write(&mut self, kind: &str, parts: &[&str], value: &impl Serialize) -> Result<(), KeysError> {
        let value = Zeroizing::new(serde_json::to_string(value)?);
        let text = Zeroizing::new(serde_json::to_string(&(kind, parts, value.as_str()))?);
        self.0.insert(name(kind, parts), Some(text));
        Ok(())
    }

    pub(super) fn remove(&mut self, kind: &str, parts: &[&str]) {
        self.0.insert(name(kind, parts), None);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ItemName, Option<&Zeroizing<String>>)> {
        self.0.iter().map(|(name, text)| (name, text.as_ref()))
    }

    pub(super) fn account(&mut self, account: &Account) -> Result<(), KeysError> {
        self.write("account", &[], &account.pickle())
    }

    pub(super) fn tracked(&mut self, user: &str, is_dirty: bool) -> Result<(), KeysError> {
        self.write("tracked", &[user], &is_dirty)
    }

    pub(super) fn secrets(&mut self, name: &SecretName, secrets: &[Zeroizing<String>]) -> Result<(), KeysError> {
        let secrets: Vec<&str> = secrets.iter().map(|secret| secret.as_str()).collect();
        self.write("secret", &[name.as_str()], &secrets)
    }

    /// A room key of somebody else. Those with which this device encrypts are never stored.
    pub(super) async fn inbound(
        &mut self,
        session: &InboundGroupSession,
        own: Option<Curve25519PublicKey>,
    ) -> Result<(), KeysError> {
        if Some(session.sender_key()) == own {
            return Ok(());
        }
        let pickle = session.pickle().await;
        self.write("inbound", &[session.room_id().as_str(), session.session_id()], &pickle)
    }

    /// What the machine wants to be kept, except for secrets, which are added to the existing ones, and its own room keys.
    ///
    /// # Errors
    /// Backups of keys and dehydrated devices are not used, and would not be kept.
    pub(super) async fn changes(
        &mut self,
        changes: &Changes,
        own: Option<Curve25519PublicKey>,
    ) -> Result<(), KeysError> {
        if changes.backup_version.is_some() || changes.backup_decryption_key.is_some() {
            return Err(KeysError::Unsupported("a backup of keys"));
        }
        if changes.dehydrated_device_pickle_key.is_some() {
            return Err(KeysError::Unsupported("a dehydrated device"));
        }
        if let Some(identity) = &changes.private_identity {
            self.write("identity", &[], &identity.pickle().await)?;
        }
        for session in &changes.sessions {
            let pickle = session.pickle().await;
            self.write("session", &[&pickle.sender_key.to_base64(), session.session_id()], &pickle)?;
        }
        for hash in &changes.message_hashes {
            self.write("hash", &[&hash.sender_key, &hash.hash], hash)?;
        }
        for session in &changes.inbound_group_sessions {
            self.inbound(session, own).await?;
        }
        for request in &changes.key_requests {
            self.write("request", &[request.request_id.as_str()], request)?;
        }
        for identity in changes.identities.new.iter().chain(&changes.identities.changed) {
            self.write("user", &[identity.user_id().as_str()], identity)?;
        }
        for device in changes.devices.new.iter().chain(&changes.devices.changed) {
            self.write("device", &[device.user_id().as_str(), device.device_id().as_str()], device)?;
        }
        for device in &changes.devices.deleted {
            self.remove("device", &[device.user_id().as_str(), device.device_id().as_str()]);
        }
        for (room, sessions) in &changes.withheld_session_info {
            for (session, entry) in sessions {
                self.write("withheld", &[room.as_str(), session], entry)?;
            }
        }
        for (room, settings) in &changes.room_settings {
            self.write("room", &[room.as_str()], settings)?;
        }
        if let Some(since) = &changes.next_batch_token {
            self.write("since", &[], since)?;
        }
        for bundle in &changes.received_room_key_bundles {
            self.write("bundle", &[bundle.bundle_data.room_id.as_str(), bundle.sender_user.as_str()], bundle)?;
        }
        for room in &changes.room_key_backups_fully_downloaded {
            self.write("downloaded", &[room.as_str()], &())?;
        }
        for (room, details) in &changes.rooms_pending_key_bundle {
            match details {
                Some(details) => self.write("pending", &[room.as_str()], details)?,
                None => self.remove("pending", &[room.as_str()]),
            }
        }
        Ok(())
    }
}

impl Known {
    /// Reads items in the form in which they were written.
    pub(super) fn read(items: &[Item]) -> Result<Self, KeysError> {
        let mut known = Self::default();
        for item in items {
            match item.kind.as_str() {
                "account" => {
                    let account = Account::from_pickle(item.parsed::<PickledAccount>()?);
                    known.pending.account = Some(account.map_err(|error| item.unusable(&error))?);
                }
                "tracked" => {
                    let tracked = TrackedUser { user_id: item.identifier()?, dirty: item.parsed()? };
                    known.tracked.push(tracked);
                }
                "custom" => known.custom.push((item.part(0)?.to_owned(), item.parsed()?)),
                "session" => {}
                _ => known.read_change(item)?,
            }
        }
        known.read_sessions(items.iter().filter(|item| item.kind == "session"))?;
        Ok(known)
    }

    fn read_change(&mut self, item: &Item) -> Result<(), KeysError> {
        let changes = &mut self.changes;
        match item.kind.as_str() {
            "identity" => {
                let identity = PrivateCrossSigningIdentity::from_pickle(item.parsed::<PickledCrossSigningIdentity>()?);
                changes.private_identity = Some(identity.map_err(|error| item.unusable(&error))?);
            }
            "hash" => changes.message_hashes.push(item.parsed()?),
            "inbound" => {
                let session = InboundGroupSession::from_pickle(item.parsed::<PickledInboundGroupSession>()?);
                changes.inbound_group_sessions.push(session.map_err(|error| item.unusable(&error))?);
            }
            "request" => changes.key_requests.push(item.parsed()?),
            "user" => changes.identities.new.push(item.parsed()?),
            "device" => changes.devices.new.push(item.parsed()?),
            "withheld" => {
                let sessions = changes.withheld_session_info.entry(item.identifier()?).or_default();
                sessions.insert(item.part(1)?.to_owned(), item.parsed()?);
            }
            "room" => {
                changes.room_settings.insert(item.identifier()?, item.parsed()?);
            }
            "since" => changes.next_batch_token = Some(item.parsed()?),
            "secret" => {
                for secret in item.parsed::<Vec<String>>()? {
                    let secret_name = SecretName::from(item.part(0)?);
                    changes.secrets.push(SecretsInboxItem { secret_name, secret: Zeroizing::new(secret) });
                }
            }
            "bundle" => changes.received_room_key_bundles.push(item.parsed()?),
            "downloaded" => {
                changes.room_key_backups_fully_downloaded.insert(item.identifier()?);
            }
            "pending" => {
                changes.rooms_pending_key_bundle.insert(item.identifier()?, Some(item.parsed()?));
            }
            _ => return Err(item.unusable(&"a later worker has written it")),
        }
        Ok(())
    }

    /// Sessions with other devices, which can only be read with our own device.
    fn read_sessions<'a>(&mut self, items: impl Iterator<Item = &'a Item>) -> Result<(), KeysError> {
        let account = self.pending.account.as_ref().map(|account| (account.user_id(), account.device_id()));
        let is_own = |device: &&DeviceData| Some((device.user_id(), device.device_id())) == account;
        let own = self.changes.devices.new.iter().find(is_own).map(|own| own.as_device_keys().clone());
        for item in items {
            let session = Session::from_pickle(own.clone().ok_or(KeysError::Lost)?, item.parsed::<PickledSession>()?);
            self.changes.sessions.push(session.map_err(|error| item.unusable(&error))?);
        }
        Ok(())
    }
}
