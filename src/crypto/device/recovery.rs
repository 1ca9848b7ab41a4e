//! The account's signing keys that another client has stored on the homeserver, encrypted with a recovery key or passphrase.

use matrix_sdk_crypto::{
    secret_storage::{AesHmacSha2EncryptedData, SecretStorageKey},
    store::types::CrossSigningKeyExport,
};
use ruma::events::{
    EventContentFromType as _,
    secret::request::SecretName,
    secret_storage::{default_key::SecretStorageDefaultKeyEventContent, key::SecretStorageKeyEventContent},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use thiserror::Error;

use super::{CryptoError, Device};
use crate::message::UserId;

/// Why the signing keys could not be taken over, in words for a person.
#[derive(Clone, Copy, Debug, Error)]
pub(super) enum Unrecovered {
    #[error(
        "the account has no signing keys that a recovery key could open: set it up in a client first (Secure Backup), or replace the signing \
         keys"
    )]
    NotStored,
    #[error("this is not the recovery key or passphrase of the account; copy it again")]
    OtherKey,
    #[error(
        "the signing keys that the recovery key opens are not the present ones of the account; replace them, or correct it in \
         another client"
    )]
    Outdated,
}

impl Device {
    /// Takes the account's signing keys over from the homeserver.
    pub(super) async fn recover(&self, recovery_key: &SecretString) -> Result<Result<(), Unrecovered>, CryptoError> {
        let Some(default) = self.stored::<SecretStorageDefaultKeyEventContent>("m.secret_storage.default_key").await?
        else {
            return Ok(Err(Unrecovered::NotStored));
        };
        let key_id = default.key_id;
        let name = format!("m.secret_storage.key.{key_id}");
        let content = self.stored::<Box<RawValue>>(&name).await?;
        let content = content.and_then(|content| SecretStorageKeyEventContent::from_parts(&name, &content).ok());
        let Some(content) = content else { return Ok(Err(Unrecovered::NotStored)) };
        let input = recovery_key.clone();
        // A passphrase takes seconds of computing.
        let key = tokio::task::spawn_blocking(move || {
            SecretStorageKey::from_account_data(input.expose_secret().trim(), content)
        });
        let Ok(Ok(key)) = key.await else {
            return Ok(Err(Unrecovered::OtherKey));
        };
        let mut seeds = Vec::new();
        for name in [
            SecretName::CrossSigningMasterKey,
            SecretName::CrossSigningSelfSigningKey,
            SecretName::CrossSigningUserSigningKey,
        ] {
            let stored = self.stored::<Value>(name.as_str()).await?;
            let stored = stored.as_ref().and_then(|content| content.get("encrypted")?.get(&key_id));
            let Some(stored) = stored.and_then(|part| AesHmacSha2EncryptedData::deserialize(part).ok()) else {
                return Ok(Err(Unrecovered::NotStored));
            };
            let seed = key.decrypt(&stored, &name).ok().and_then(|seed| String::from_utf8(seed).ok());
            seeds.push(seed);
        }
        let [master_key, self_signing_key, user_signing_key] = <[_; 3]>::try_from(seeds).expect("three names");
        let keys = CrossSigningKeyExport { master_key, self_signing_key, user_signing_key };
        let imported = self.machine.import_cross_signing_keys(keys).await;
        if !imported.is_ok_and(|status| status.is_complete()) {
            return Ok(Err(Unrecovered::Outdated));
        }
        Ok(Ok(()))
    }

    async fn stored<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CryptoError> {
        let me = UserId::parse(self.machine.user_id().as_str())
            .map_err(|error| CryptoError::unusable("the account's ID", &error))?;
        let Some(content) = self.homeserver.account_data(&me, name).await? else { return Ok(None) };
        // A key that was removed is stored as an empty object.
        Ok(T::deserialize(content).ok())
    }
}
