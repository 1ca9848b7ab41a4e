//! The account signs its device, with keys that all devices of an account share. Strict clients show no messages of a device that is not
//! signed.

use matrix_sdk_crypto::types::requests::{AnyIncomingResponse, UploadSigningKeysRequest};
use ruma::{TransactionId, api::client::keys::upload_signing_keys::v3::Response as SigningKeysUploaded};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{CryptoError, Device, exchange::json as to_json};
use crate::matrix::SigningKeys;

/// Whether others can see that the device belongs to its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    Signed,
    /// It is not signed; the text says what a person can do about it.
    Missing(String),
}

/// What somebody has entered to have the device signed. It is used once and not kept.
#[derive(Debug)]
pub enum Secret {
    None,
    /// The account's password, in case the homeserver asks for it.
    Password(SecretString),
    /// Opens the signing keys that another client has stored on the homeserver.
    RecoveryKey(SecretString),
    /// Replaces the account's signing keys: with its password, or without one through an application service.
    Reset(Option<SecretString>),
}

const OTHERS: &str =
    "the account has signing keys already, which the worker does not have: enter their recovery key, or replace them";

impl Device {
    /// Signs the device if that is possible. If the account has no signing keys, they are created; those that somebody else created are
    /// replaced only if that was asked for.
    ///
    /// # Errors
    /// If it is unknown whether the device is signed.
    pub async fn sign(&self, with: &Secret) -> Result<Signature, CryptoError> {
        let me = self.machine.user_id();
        let there = self.homeserver.query_keys([me.as_str()]).await?;
        let is_there = there["master_keys"][me.as_str()].is_object();
        // The machine forgets its own signing keys if the homeserver has others.
        self.query_own().await?;
        if let (Secret::RecoveryKey(key), true) = (with, is_there)
            && let Err(reason) = self.recover(key).await?
        {
            return Ok(Signature::Missing(reason.to_string()));
        }
        let is_ours = self.machine.cross_signing_status().await.is_complete();
        let is_replaced = is_there && !is_ours && matches!(with, Secret::Reset(_));
        if is_there && !is_ours && !is_replaced {
            return Ok(Signature::Missing(OTHERS.to_owned()));
        }
        if is_there && !is_replaced && self.is_signed().await? {
            return Ok(Signature::Signed);
        }
        // New ones are stored before they are published.
        let requests = self.machine.bootstrap_cross_signing(is_replaced).await?;
        if !is_there || is_replaced {
            let password = match with {
                Secret::Password(password) | Secret::Reset(Some(password)) => Some((me.as_str(), password)),
                Secret::None | Secret::RecoveryKey(_) | Secret::Reset(None) => None,
            };
            match self.homeserver.upload_signing_keys(&body(&requests.upload_signing_keys_req)?, password).await? {
                SigningKeys::Taken => {}
                SigningKeys::Refused(reason) => return Ok(Signature::Missing(reason)),
            }
            let uploaded = AnyIncomingResponse::SigningKeysUpload(&SigningKeysUploaded::new());
            self.machine.mark_request_as_sent(&TransactionId::new(), uploaded).await?;
        }
        let signatures = requests.upload_signatures_req;
        self.send(&TransactionId::new(), &signatures.into(), &|| true).await?;
        self.query_own().await?;
        if self.is_signed().await? {
            return Ok(Signature::Signed);
        }
        Err(CryptoError::Unusable(
            "the homeserver has taken the signature of the device and does not show it".to_owned(),
        ))
    }

    async fn query_own(&self) -> Result<(), CryptoError> {
        let (id, query) = self.machine.query_keys_for_users([self.machine.user_id()]);
        self.send(&id, &query.into(), &|| true).await
    }

    async fn is_signed(&self) -> Result<bool, CryptoError> {
        let own = self.machine.get_device(self.machine.user_id(), self.machine.device_id(), None).await?;
        Ok(own.is_some_and(|own| own.is_cross_signed_by_owner()))
    }
}

fn body(keys: &UploadSigningKeysRequest) -> Result<Value, CryptoError> {
    Ok(json!({
        "master_key": to_json(&keys.master_key)?,
        "self_signing_key": to_json(&keys.self_signing_key)?,
        "user_signing_key": to_json(&keys.user_signing_key)?,
    }))
}
