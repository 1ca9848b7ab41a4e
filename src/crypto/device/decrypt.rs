//! Reads what others write in encrypted rooms.

use matrix_sdk_common::deserialized_responses::{VerificationLevel, VerificationState, WithheldCode};
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
    /// Its sender has redacted it.
    Nothing,
    /// The sender's device has not sent us the key. `may_come`: that may be a matter of seconds.
    NoKey { reason: &'static str, may_come: bool },
    /// Why it cannot be read.
    Unreadable(String),
}

impl Device {
    /// Decrypts an event, which says what its room is.
    pub async fn decrypt(&self, event: &Value) -> Result<Decrypted, CryptoError> {
        if event["content"].as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok(Decrypted::Nothing);
        }
        let unreadable = |error: &dyn std::fmt::Display| {
            Ok(Decrypted::Unreadable(format!("it is not encrypted as Matrix defines it ({error})")))
        };
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
            Err(MegolmError::MissingRoomKey(withheld)) => Ok(no_key(withheld.as_ref())),
            Err(MegolmError::Decryption(DecryptionError::UnknownMessageIndex(..))) => Ok(Decrypted::NoKey {
                reason: "the sender's device has sent the key of later messages only",
                may_come: true,
            }),
            Err(MegolmError::Store(error)) => Err(error.into()),
            Err(error) => unreadable(&error),
        }
    }
}

/// What it means that there is no key, by what the sender's device has said about it.
fn no_key(withheld: Option<&WithheldCode>) -> Decrypted {
    let (reason, may_come) = match withheld {
        Some(WithheldCode::Blacklisted) => {
            ("the sender has blocked the account's device in their Matrix client", false)
        }
        Some(WithheldCode::Unverified) => {
            ("the sender's Matrix client gives keys only to devices that it considers verified", false)
        }
        Some(WithheldCode::Unauthorised) => ("the sender's device says that the account may not have the key", false),
        // Others say only that the device that was asked does not have it. That a device could begin no session is not said of a certain key.
        _ => ("the sender's device has not sent the key", true),
    };
    Decrypted::NoKey { reason, may_come }
}
