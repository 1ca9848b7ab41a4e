//! Writing in an encrypted room.

use std::sync::atomic::{AtomicU64, Ordering};

use matrix_sdk_crypto::EncryptionSettings;
use ruma::{
    EventEncryptionAlgorithm, OwnedRoomId, OwnedUserId,
    events::{
        AnyMessageLikeEventContent,
        room::{encryption::RoomEncryptionEventContent, history_visibility::HistoryVisibility},
    },
    serde::Raw,
};
use serde::Deserialize as _;
use serde_json::{Value, json, value::RawValue};

use super::{
    CryptoError, Device,
    exchange::MayCall,
    readers::{NoKey, Unverified},
};
use crate::{crypto::error::LONGEST, message::RoomId};

/// One share sends the key to all devices; a second one finds nothing left to send.
const MOST_SHARES: usize = 3;

/// Identifies a message of an Odoo. It is outside the encrypted text, because the worker that searches for it has no keys.
const MARKER: &str = "org.odoo.outbox";

/// Each time that a room is read has a number.
static READS: AtomicU64 = AtomicU64::new(0);

/// A room as it was seen: who should be able to read what is written there, and for how long one key may be used.
#[derive(Debug)]
pub struct EncryptedRoom {
    pub(super) name: RoomId,
    id: OwnedRoomId,
    pub(super) members: Vec<OwnedUserId>,
    settings: EncryptionSettings,
    pub(super) read: u64,
}

/// An encrypted event.
#[derive(Debug)]
pub struct Encrypted {
    /// The content of the event `m.room.encrypted`.
    pub content: String,
    /// Devices of people in the room that cannot read it.
    pub no_key: Option<NoKey>,
    /// Devices that can read it without being verified, if no delivery has named them yet.
    pub unverified: Option<Unverified>,
}

impl Device {
    /// Reads the state of an encrypted room. If the homeserver denies that it is encrypted, the usual settings apply.
    pub async fn room(&self, room: &RoomId, may_call: MayCall<'_>) -> Result<EncryptedRoom, CryptoError> {
        let unusable = |error: &dyn std::fmt::Display| CryptoError::unusable("the room's encryption", &error);
        let id = OwnedRoomId::try_from(room.as_str()).map_err(|error| unusable(&error))?;
        if !may_call() {
            return Err(CryptoError::Stopped);
        }
        let (members, visibility, encryption) = tokio::try_join!(
            self.homeserver.members(room),
            self.homeserver.state(room, "m.room.history_visibility"),
            self.homeserver.state(room, "m.room.encryption"),
        )?;
        let encryption = encryption.unwrap_or_else(|| json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
        let encryption = RoomEncryptionEventContent::deserialize(encryption).map_err(|error| unusable(&error))?;
        if encryption.algorithm != EventEncryptionAlgorithm::MegolmV1AesSha2 {
            return Err(unusable(&format_args!("the worker does not know the algorithm {}", encryption.algorithm)));
        }
        let visibility = visibility.as_ref().and_then(|content| content.get("history_visibility")?.as_str());
        let visibility = HistoryVisibility::from(visibility.unwrap_or("shared"));
        // A user without a valid ID cannot have a device.
        let members: Vec<_> = members.iter().filter_map(|member| OwnedUserId::try_from(member.as_str()).ok()).collect();
        {
            // Not between the questions about devices and what is done with their answers.
            let _turn = self.exchange.lock().await;
            self.machine.update_tracked_users(members.iter().map(AsRef::as_ref)).await?;
        }
        let settings = EncryptionSettings::new(encryption, visibility, self.strategy.clone());
        let read = READS.fetch_add(1, Ordering::Relaxed);
        Ok(EncryptedRoom { name: room.clone(), id, members, settings, read })
    }

    /// Encrypts an event of this `kind`. Every device that should read it gets the key first.
    pub async fn encrypt(
        &self,
        room: &EncryptedRoom,
        kind: &str,
        content: &str,
        may_call: MayCall<'_>,
    ) -> Result<Encrypted, CryptoError> {
        if content.len() > LONGEST {
            return Err(CryptoError::TooLong);
        }
        let lock = self.lock_of(&room.name);
        let mut readers = lock.lock().await;
        let unusable = |error: serde_json::Error| CryptoError::unusable("the message's content", &error);
        let text = RawValue::from_string(content.to_owned()).map_err(unusable)?;
        // Also with devices that were added since the room was read.
        self.begin_sessions(room.members.iter().map(AsRef::as_ref), may_call).await?;
        let mut is_shared = false;
        for _ in 0..MOST_SHARES {
            let members = room.members.iter().map(AsRef::as_ref);
            let requests = self.machine.share_room_key(&room.id, members, room.settings.clone()).await?;
            is_shared = requests.is_empty();
            if is_shared {
                break;
            }
            for request in requests {
                if !may_call() {
                    return Err(CryptoError::Stopped);
                }
                self.send_to_device(&request.txn_id, &request).await?;
                readers.sent(&request);
            }
        }
        if !is_shared {
            return Err(CryptoError::Unusable("the room's key is shared without an end".to_owned()));
        }
        // Only once, right after a share: this call panics if the key has expired.
        let encrypted = self
            .machine
            .encrypt_room_event_raw(&room.id, kind, &Raw::<AnyMessageLikeEventContent>::from_json(text))
            .await?;
        let mut encrypted: Value = serde_json::from_str(encrypted.content.json().get()).map_err(unusable)?;
        let plain: Value = serde_json::from_str(content).map_err(unusable)?;
        if let Some(marker) = plain.get(MARKER) {
            encrypted[MARKER] = marker.clone();
        }
        let session = encrypted["session_id"].as_str().unwrap_or_default();
        let (no_key, unverified) = self.readers(&mut readers, room, session).await?;
        Ok(Encrypted { content: encrypted.to_string(), no_key, unverified })
    }
}
