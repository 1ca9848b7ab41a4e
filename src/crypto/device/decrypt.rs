//! Reads what others write in encrypted rooms.

use matrix_sdk_common::deserialized_responses::{VerificationLevel, VerificationState};
use matrix_sdk_crypto::{
    DecryptionSettings, MegolmError, TrustRequirement, types::events::room::encrypted::EncryptedEvent,
    vodozemac::megolm::DecryptionError,
};
use ruma::{OwnedRoomId, serde::Raw};
use serde_json::Value;

use super::{CryptoError, Device};

/// What is in an event `m.room.encrypted`.
#[derive(Debug)]
pub enum Decrypted {
    /// Its type and its content.
    Event { kind: String, content: Value },
    /// The sender's device has not sent us the key yet, or never will.
    NoKey,
    /// Why it cannot be read.
    Unreadable(String),
}

impl Device {
    /// Decrypts an event, which says what its room is.
    pub async fn decrypt(&self, event: &Value) -> Result<Decrypted, CryptoError> {
        let unreadable = |error: &dyn std::fmt::Display| Ok(Decrypted::Unreadable(error.to_string()));
        let room = match OwnedRoomId::try_from(event["room_id"].as_str().unwrap_or_default()) {
            Ok(room) => room,
            Err(error) => return unreadable(&error),
        };
        let event: Raw<EncryptedEvent> = match Raw::new(event) {
            Ok(event) => event.cast_unchecked(),
            Err(error) => return unreadable(&error),
        };
        let settings = DecryptionSettings { sender_device_trust_requirement: TrustRequirement::Untrusted };
        match self.machine.decrypt_room_event(&event, &room, &settings).await {
            // The homeserver names another sender than the device that has encrypted it.
            Ok(decrypted)
                if matches!(
                    decrypted.encryption_info.verification_state,
                    VerificationState::Unverified(VerificationLevel::MismatchedSender)
                ) =>
            {
                Ok(Decrypted::Unreadable("it is not from the person that the homeserver names".to_owned()))
            }
            Ok(decrypted) => {
                let event: Value = serde_json::from_str(decrypted.event.json().get()).unwrap_or_default();
                let kind = event["type"].as_str().unwrap_or_default().to_owned();
                Ok(Decrypted::Event { kind, content: event["content"].clone() })
            }
            Err(MegolmError::MissingRoomKey(_) | MegolmError::Decryption(DecryptionError::UnknownMessageIndex(..))) => {
                Ok(Decrypted::NoKey)
            }
            Err(MegolmError::Store(error)) => Err(error.into()),
            Err(error) => unreadable(&error),
        }
    }
}
