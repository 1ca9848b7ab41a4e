//! The account signs its device, with keys that all devices of an account share. Strict clients show no messages of a device that is not
//! signed.

use matrix_sdk_crypto::types::requests::{AnyIncomingResponse, UploadSigningKeysRequest};
use ruma::{TransactionId, api::client::keys::upload_signing_keys::v3::Response as SigningKeysUploaded};
use serde_json::{Value, json};

use super::{CryptoError, Device, exchange::json as to_json};
use crate::matrix::SendError;

/// Whether others can see that the device belongs to its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    Signed,
    /// It is not signed; the text says what a person can do about it.
    Missing(&'static str),
}

const OTHERS: &str = "the account has signing keys already, which the worker does not have: enter their recovery key, or set them anew \
    with the account's password";

const PASSWORD: &str = "the homeserver wants the account's password before it takes signing keys";

impl Device {
    /// Signs the device if that is possible. If the account has no signing keys, they are created; those that somebody else created stay.
    ///
    /// # Errors
    /// If it is unknown whether the device is signed.
    pub async fn sign(&self) -> Result<Signature, CryptoError> {
        let me = self.machine.user_id();
        let there = self.homeserver.query_keys([me.as_str()]).await?;
        let is_there = there["master_keys"][me.as_str()].is_object();
        // The machine forgets its own signing keys if the homeserver has others.
        let (id, query) = self.machine.query_keys_for_users([me]);
        self.send(&id, &query.into(), &|| true).await?;
        let is_ours = self.machine.cross_signing_status().await.is_complete();
        if is_there && !is_ours {
            return Ok(Signature::Missing(OTHERS));
        }
        if is_there && self.is_signed().await? {
            return Ok(Signature::Signed);
        }
        // New ones are stored before they are published.
        let requests = self.machine.bootstrap_cross_signing(false).await?;
        if !is_there {
            match self.homeserver.upload_signing_keys(&body(&requests.upload_signing_keys_req)?).await {
                // A request for the password has no errcode.
                Err(SendError::NotMatrix { status: 401, .. }) => return Ok(Signature::Missing(PASSWORD)),
                answer => answer.map(drop)?,
            }
            let uploaded = AnyIncomingResponse::SigningKeysUpload(&SigningKeysUploaded::new());
            self.machine.mark_request_as_sent(&TransactionId::new(), uploaded).await?;
        }
        let signatures = requests.upload_signatures_req;
        self.send(&TransactionId::new(), &signatures.into(), &|| true).await?;
        let (id, query) = self.machine.query_keys_for_users([me]);
        self.send(&id, &query.into(), &|| true).await?;
        if self.is_signed().await? {
            return Ok(Signature::Signed);
        }
        Err(CryptoError::Unusable(
            "the homeserver has taken the signature of the device and does not show it".to_owned(),
        ))
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
