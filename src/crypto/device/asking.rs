//! Asks for keys that are missing.

use matrix_sdk_crypto::types::events::room::encrypted::EncryptedEvent;
use ruma::{OwnedRoomId, OwnedTransactionId, serde::Raw};
use serde_json::Value;
use tracing::debug;

use super::{CryptoError, Device};

impl Device {
    /// Makes a request for the key of an event, if the account has signed devices besides this one. The crypto library takes keys that were
    /// asked for from nobody else: anybody else could have made up the key, and the text with it.
    pub(super) async fn request_key(&self, event: &Value) -> Result<Option<OwnedTransactionId>, CryptoError> {
        let own = self.machine.get_user_devices(self.machine.user_id(), None).await?;
        let room = OwnedRoomId::try_from(event["room_id"].as_str().unwrap_or_default());
        let (true, Ok(room), Ok(event)) = (own.is_any_verified(), room, Raw::new(event)) else { return Ok(None) };
        let (_, request) = self.machine.request_room_key(&event.cast_unchecked::<EncryptedEvent>(), &room).await?;
        Ok(Some(request.request_id().to_owned()))
    }

    /// Sends what was asked. If that fails, it is sent with the next updates.
    pub(super) async fn send_requests(&self) -> Result<(), CryptoError> {
        match self.exchange(&|| true).await {
            Err(error) if error.ends_the_device() => Err(error),
            Err(error) => {
                debug!(%error, "A key was not asked for yet");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
