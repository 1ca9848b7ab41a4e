//! Carries out what somebody has asked for in Odoo, and stores what people see of the device.

use thiserror::Error;
use tracing::{info, warn};

use super::{CryptoError, Device, Secret, Signature};
use crate::{
    seal::{Keys, OpenError},
    store::{KeysTaken, SetupAsked, SetupEnd, SetupRequest, Store, StoreError},
};

/// Why the secret of a request cannot be used.
#[derive(Debug, Error)]
enum SecretError {
    #[error("the request is older than 15 minutes, because no worker was running: set up encryption again")]
    Expired,
    #[error(transparent)]
    Sealed(#[from] OpenError),
    #[error("this worker does not know the request «{0}»; upgrade the worker")]
    UnknownRequest(String),
}

impl Device {
    /// Signs the device, with the secret of a request if there is one.
    pub(super) async fn set_up(
        &self,
        store: &Store,
        keys: &Keys,
        taken: KeysTaken,
        asked: Option<SetupAsked>,
    ) -> Result<(), CryptoError> {
        // It is gone from the database before its secret is used.
        let request = match asked {
            Some(asked) => store.take_setup_request(taken, asked).await?,
            None => None,
        };
        let secret = request.as_ref().map_or(Ok(Secret::None), |request| secret_of(request, keys));
        let signed = match &secret {
            Ok(secret) => self.sign(secret).await,
            Err(_) => self.sign(&Secret::None).await,
        };
        let signed = match signed {
            Err(error) if error.ends_the_device() => return Err(error),
            signed => signed.map_err(|error| error.to_string()),
        };
        let ended: Option<SetupEnd> = request.is_some().then(|| match (&secret, &signed) {
            (Err(error), _) => Err(error.to_string()),
            (Ok(_), Err(reason)) => Err(reason.clone()),
            (Ok(_), Ok(Signature::Missing(reason))) => Err(reason.clone()),
            (Ok(_), Ok(Signature::Signed)) => Ok(()),
        });
        let signature = match &signed {
            Ok(Signature::Signed) => Some(Ok(())),
            Ok(Signature::Missing(reason)) => Some(Err(reason.as_str())),
            // It is not known whether it is signed.
            Err(error) => {
                warn!(backend.id = taken.backend, error, "The device could not be signed");
                None
            }
        };
        if let Some(ended) = &ended {
            info!(backend.id = taken.backend, is_done = ended.is_ok(), "Encryption was set up");
        }
        Ok(store.device_is(taken, Some(&self.fingerprint()), signature, ended.as_ref()).await?)
    }
}

/// The device could not be opened, and so the request has failed. The secret is deleted all the same.
pub(super) async fn refused(
    store: &Store,
    taken: KeysTaken,
    asked: Option<SetupAsked>,
    error: &CryptoError,
) -> Result<(), StoreError> {
    if let Some(asked) = asked
        && store.take_setup_request(taken, asked).await?.is_some()
    {
        store.device_is(taken, None, None, Some(&Err(error.to_string()))).await?;
    }
    Ok(())
}

fn secret_of(request: &SetupRequest, keys: &Keys) -> Result<Secret, SecretError> {
    if request.is_expired {
        return Err(SecretError::Expired);
    }
    let open = || keys.open("secret of its set-up", request.secret_sealed.as_deref());
    Ok(match request.kind.as_str() {
        "new_device" => Secret::None,
        "password" => Secret::Password(open()?),
        "recovery_key" => Secret::RecoveryKey(open()?),
        "reset" => Secret::Reset(request.secret_sealed.is_some().then(open).transpose()?),
        kind => return Err(SecretError::UnknownRequest(kind.to_owned())),
    })
}
