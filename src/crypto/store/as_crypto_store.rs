//! The interface that the crypto machine needs for its store: reads come from memory, writes go to the database first.

use std::collections::HashMap;

use async_trait::async_trait;
use matrix_sdk_common::cross_process_lock::CrossProcessLockGeneration;
use matrix_sdk_crypto::{
    Account, DeviceData, GossipRequest, SecretInfo, Session, TrackedUser, UserIdentityData,
    olm::{InboundGroupSession, OlmMessageHash, OutboundGroupSession, PrivateCrossSigningIdentity, SenderDataType},
    store::{
        CryptoStore,
        types::{
            BackupKeys, Changes, DehydratedDeviceKey, PendingChanges, RoomKeyCounts, RoomKeyWithheldEntry,
            RoomPendingKeyBundleDetails, RoomSettings, StoredRoomKeyBundleData,
        },
    },
    vodozemac::Curve25519PublicKey,
};
use ruma::{DeviceId, OwnedDeviceId, RoomId, TransactionId, UserId, events::secret::request::SecretName};
use zeroize::Zeroizing;

use super::{KeyStore, in_memory};
use crate::crypto::{items::Items, rows::KeysError};

#[async_trait]
impl CryptoStore for KeyStore {
    type Error = KeysError;

    async fn save_pending_changes(&self, changes: PendingChanges) -> Result<(), KeysError> {
        let Some(account) = &changes.account else { return Ok(()) };
        let mut saving = self.saving.lock().await;
        let mut items = Items::default();
        items.account(account)?;
        let own = account.identity_keys().curve25519;
        self.rows.save(items).await?;
        saving.own = Some(own);
        in_memory(self.memory.save_pending_changes(changes).await);
        Ok(())
    }

    async fn save_changes(&self, mut changes: Changes) -> Result<(), KeysError> {
        let saving = self.saving.lock().await;
        let mut items = Items::default();
        items.changes(&changes, saving.own).await?;
        self.secrets(&mut items, &changes).await?;
        self.rows.save(items).await?;
        // The store in memory would lose it.
        if changes.private_identity.is_none() {
            changes.private_identity = in_memory(self.memory.load_identity().await);
        }
        in_memory(self.memory.save_changes(changes).await);
        Ok(())
    }

    async fn save_inbound_group_sessions(
        &self,
        sessions: Vec<InboundGroupSession>,
        backed_up_to_version: Option<&str>,
    ) -> Result<(), KeysError> {
        if backed_up_to_version.is_some() {
            return Err(KeysError::Unsupported("a backup of keys"));
        }
        let saving = self.saving.lock().await;
        let mut items = Items::default();
        for session in &sessions {
            items.inbound(session, saving.own).await?;
        }
        self.rows.save(items).await?;
        in_memory(self.memory.save_inbound_group_sessions(sessions, None).await);
        Ok(())
    }

    async fn save_tracked_users(&self, users: &[(&UserId, bool)]) -> Result<(), KeysError> {
        let _saving = self.saving.lock().await;
        let mut items = Items::default();
        for (user, is_dirty) in users {
            items.tracked(user.as_str(), *is_dirty)?;
        }
        self.rows.save(items).await?;
        in_memory(self.memory.save_tracked_users(users).await);
        Ok(())
    }

    async fn delete_outgoing_secret_requests(&self, request_id: &TransactionId) -> Result<(), KeysError> {
        let _saving = self.saving.lock().await;
        let mut items = Items::default();
        items.remove("request", &[request_id.as_str()]);
        self.rows.save(items).await?;
        in_memory(self.memory.delete_outgoing_secret_requests(request_id).await);
        Ok(())
    }

    async fn delete_secrets_from_inbox(&self, secret_name: &SecretName) -> Result<(), KeysError> {
        let _saving = self.saving.lock().await;
        let mut items = Items::default();
        items.remove("secret", &[secret_name.as_str()]);
        self.rows.save(items).await?;
        in_memory(self.memory.delete_secrets_from_inbox(secret_name).await);
        Ok(())
    }

    async fn set_custom_value(&self, key: &str, value: Vec<u8>) -> Result<(), KeysError> {
        let _saving = self.saving.lock().await;
        let mut items = Items::default();
        items.write("custom", &[key], &value)?;
        self.rows.save(items).await?;
        in_memory(self.memory.set_custom_value(key, value).await);
        Ok(())
    }

    async fn remove_custom_value(&self, key: &str) -> Result<(), KeysError> {
        let _saving = self.saving.lock().await;
        let mut items = Items::default();
        items.remove("custom", &[key]);
        self.rows.save(items).await?;
        in_memory(self.memory.remove_custom_value(key).await);
        Ok(())
    }

    async fn mark_inbound_group_sessions_as_backed_up(
        &self,
        _backup_version: &str,
        _room_and_session_ids: &[(&RoomId, &str)],
    ) -> Result<(), KeysError> {
        Err(KeysError::Unsupported("a backup of keys"))
    }

    /// The lease of the account and the epoch of its keys decide who may use them.
    async fn try_take_leased_lock(
        &self,
        _lease_duration_ms: u32,
        _key: &str,
        _holder: &str,
    ) -> Result<Option<CrossProcessLockGeneration>, KeysError> {
        Err(KeysError::Unsupported("locks of its crypto library"))
    }

    async fn delete_dehydrated_device_pickle_key(&self) -> Result<(), KeysError> {
        Err(KeysError::Unsupported("a dehydrated device"))
    }

    async fn load_account(&self) -> Result<Option<Account>, KeysError> {
        Ok(in_memory(self.memory.load_account().await))
    }

    async fn load_identity(&self) -> Result<Option<PrivateCrossSigningIdentity>, KeysError> {
        Ok(in_memory(self.memory.load_identity().await))
    }

    async fn get_sessions(&self, sender_key: &str) -> Result<Option<Vec<Session>>, KeysError> {
        Ok(in_memory(self.memory.get_sessions(sender_key).await))
    }

    async fn get_inbound_group_session(
        &self,
        room_id: &RoomId,
        session_id: &str,
    ) -> Result<Option<InboundGroupSession>, KeysError> {
        Ok(in_memory(self.memory.get_inbound_group_session(room_id, session_id).await))
    }

    async fn get_withheld_info(
        &self,
        room_id: &RoomId,
        session_id: &str,
    ) -> Result<Option<RoomKeyWithheldEntry>, KeysError> {
        Ok(in_memory(self.memory.get_withheld_info(room_id, session_id).await))
    }

    async fn get_withheld_sessions_by_room_id(&self, room_id: &RoomId) -> Result<Vec<RoomKeyWithheldEntry>, KeysError> {
        Ok(in_memory(self.memory.get_withheld_sessions_by_room_id(room_id).await))
    }

    async fn get_inbound_group_sessions(&self) -> Result<Vec<InboundGroupSession>, KeysError> {
        Ok(in_memory(self.memory.get_inbound_group_sessions().await))
    }

    async fn inbound_group_session_counts(&self, backup_version: Option<&str>) -> Result<RoomKeyCounts, KeysError> {
        Ok(in_memory(self.memory.inbound_group_session_counts(backup_version).await))
    }

    async fn get_inbound_group_sessions_by_room_id(
        &self,
        room_id: &RoomId,
    ) -> Result<Vec<InboundGroupSession>, KeysError> {
        Ok(in_memory(self.memory.get_inbound_group_sessions_by_room_id(room_id).await))
    }

    async fn get_inbound_group_sessions_for_device_batch(
        &self,
        curve_key: Curve25519PublicKey,
        sender_data_type: SenderDataType,
        after_session_id: Option<String>,
        limit: usize,
    ) -> Result<Vec<InboundGroupSession>, KeysError> {
        Ok(in_memory(
            self.memory
                .get_inbound_group_sessions_for_device_batch(curve_key, sender_data_type, after_session_id, limit)
                .await,
        ))
    }

    async fn inbound_group_sessions_for_backup(
        &self,
        backup_version: &str,
        limit: usize,
    ) -> Result<Vec<InboundGroupSession>, KeysError> {
        Ok(in_memory(self.memory.inbound_group_sessions_for_backup(backup_version, limit).await))
    }

    async fn reset_backup_state(&self) -> Result<(), KeysError> {
        in_memory(self.memory.reset_backup_state().await);
        Ok(())
    }

    async fn load_backup_keys(&self) -> Result<BackupKeys, KeysError> {
        Ok(in_memory(self.memory.load_backup_keys().await))
    }

    async fn load_dehydrated_device_pickle_key(&self) -> Result<Option<DehydratedDeviceKey>, KeysError> {
        Ok(in_memory(self.memory.load_dehydrated_device_pickle_key().await))
    }

    async fn get_outbound_group_session(&self, room_id: &RoomId) -> Result<Option<OutboundGroupSession>, KeysError> {
        Ok(in_memory(self.memory.get_outbound_group_session(room_id).await))
    }

    async fn load_tracked_users(&self) -> Result<Vec<TrackedUser>, KeysError> {
        Ok(in_memory(self.memory.load_tracked_users().await))
    }

    async fn get_device(&self, user_id: &UserId, device_id: &DeviceId) -> Result<Option<DeviceData>, KeysError> {
        Ok(in_memory(self.memory.get_device(user_id, device_id).await))
    }

    async fn get_user_devices(&self, user_id: &UserId) -> Result<HashMap<OwnedDeviceId, DeviceData>, KeysError> {
        Ok(in_memory(self.memory.get_user_devices(user_id).await))
    }

    async fn get_own_device(&self) -> Result<DeviceData, KeysError> {
        Ok(in_memory(self.memory.get_own_device().await))
    }

    async fn get_user_identity(&self, user_id: &UserId) -> Result<Option<UserIdentityData>, KeysError> {
        Ok(in_memory(self.memory.get_user_identity(user_id).await))
    }

    async fn is_message_known(&self, message_hash: &OlmMessageHash) -> Result<bool, KeysError> {
        Ok(in_memory(self.memory.is_message_known(message_hash).await))
    }

    async fn get_outgoing_secret_requests(
        &self,
        request_id: &TransactionId,
    ) -> Result<Option<GossipRequest>, KeysError> {
        Ok(in_memory(self.memory.get_outgoing_secret_requests(request_id).await))
    }

    async fn get_secret_request_by_info(&self, secret_info: &SecretInfo) -> Result<Option<GossipRequest>, KeysError> {
        Ok(in_memory(self.memory.get_secret_request_by_info(secret_info).await))
    }

    async fn get_unsent_secret_requests(&self) -> Result<Vec<GossipRequest>, KeysError> {
        Ok(in_memory(self.memory.get_unsent_secret_requests().await))
    }

    async fn get_secrets_from_inbox(&self, secret_name: &SecretName) -> Result<Vec<Zeroizing<String>>, KeysError> {
        Ok(in_memory(self.memory.get_secrets_from_inbox(secret_name).await))
    }

    async fn get_room_settings(&self, room_id: &RoomId) -> Result<Option<RoomSettings>, KeysError> {
        Ok(in_memory(self.memory.get_room_settings(room_id).await))
    }

    async fn get_received_room_key_bundle_data(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Option<StoredRoomKeyBundleData>, KeysError> {
        Ok(in_memory(self.memory.get_received_room_key_bundle_data(room_id, user_id).await))
    }

    async fn get_pending_key_bundle_details_for_room(
        &self,
        room_id: &RoomId,
    ) -> Result<Option<RoomPendingKeyBundleDetails>, KeysError> {
        Ok(in_memory(self.memory.get_pending_key_bundle_details_for_room(room_id).await))
    }

    async fn get_all_rooms_pending_key_bundles(&self) -> Result<Vec<RoomPendingKeyBundleDetails>, KeysError> {
        Ok(in_memory(self.memory.get_all_rooms_pending_key_bundles().await))
    }

    async fn has_downloaded_all_room_keys(&self, room_id: &RoomId) -> Result<bool, KeysError> {
        Ok(in_memory(self.memory.has_downloaded_all_room_keys(room_id).await))
    }

    async fn get_custom_value(&self, key: &str) -> Result<Option<Vec<u8>>, KeysError> {
        Ok(in_memory(self.memory.get_custom_value(key).await))
    }

    async fn next_batch_token(&self) -> Result<Option<String>, KeysError> {
        Ok(in_memory(self.memory.next_batch_token().await))
    }

    async fn close(&self) -> Result<(), KeysError> {
        Ok(())
    }

    async fn reopen(&self) -> Result<(), KeysError> {
        Ok(())
    }

    async fn get_size(&self) -> Result<Option<usize>, KeysError> {
        Ok(None)
    }
}
