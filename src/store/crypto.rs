//! The keys of an account's device. Taking them fences off every earlier holder.

use std::time::SystemTime;

use tokio_postgres::Row;

use super::{Following, Store, StoreError, complete::bounded, value};
use crate::message::{BackendId, RoomId, UserId};

const TAKE: &str = include_str!("../../sql/crypto_take.sql");
const ITEMS: &str = include_str!("../../sql/crypto_items.sql");
const SAVE: &str = include_str!("../../sql/crypto_save.sql");
const STATE: &str = include_str!("../../sql/crypto_state.sql");

/// A request to set up encryption that is older is not carried out: it holds somebody's password.
const REQUEST_LASTS: i32 = 15 * 60;

/// The right to use an account's keys, until another worker takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysTaken {
    pub backend: BackendId,
    pub epoch: i64,
}

/// What a worker knows about an account's keys when it has just taken them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysFound {
    pub taken: KeysTaken,
    /// The account and the device that the keys belong to.
    pub account: UserId,
    pub device: String,
    /// Why they must not be used.
    pub doubt: Option<String>,
    /// No worker has taken keys of this device before.
    pub is_new: bool,
}

/// That somebody has asked in Odoo to set up encryption, for the configuration with which the account is followed.
#[derive(Clone, Copy, Debug)]
pub struct SetupAsked {
    config_version: i32,
    at: SystemTime,
}

/// What somebody has asked for in Odoo: to set up encryption.
#[derive(Debug)]
pub struct SetupRequest {
    /// A value of `matrix_crypto_request.kind`.
    pub kind: String,
    pub secret_sealed: Option<String>,
    pub is_expired: bool,
}

/// How a request has ended: failed for a reason, or done.
pub type SetupEnd = Result<(), String>;

/// Whether an account's keys may be used: the values of `matrix_crypto.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysState {
    Ok,
    /// The device has keys that are not ours.
    Refused,
    /// Ours are gone.
    Lost,
    /// They come from another database or from an earlier time.
    Moved,
}

impl KeysState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Moved => "moved",
        }
    }
}

/// Which item it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemName {
    pub kind: String,
    pub key: String,
}

impl Store {
    /// Takes the keys of an account that this worker follows as `account` with `device`; `None` when it does not follow it any more.
    pub async fn take_keys(
        &self,
        following: &Following,
        account: &UserId,
        device: &str,
    ) -> Result<Option<KeysFound>, StoreError> {
        let (backend, lease) = (following.backend, following.epoch);
        let rows = self.query(TAKE, &[&backend, &self.name.owner, &lease, &account.as_str(), &device]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let epoch = value(row, "epoch")?;
        Ok(Some(KeysFound {
            taken: KeysTaken { backend, epoch },
            account: UserId::parse(value(row, "matrix_user_id")?)
                .map_err(|error| StoreError::Other(error.to_string()))?,
            device: value(row, "device_id")?,
            doubt: value(row, "doubt")?,
            is_new: epoch == 1,
        }))
    }

    /// Drops the keys of a former device; false if another worker has taken them.
    pub async fn start_again(&self, taken: KeysTaken, account: &UserId, device: &str) -> Result<bool, StoreError> {
        let sql = include_str!("../../sql/crypto_again.sql");
        let rows =
            self.query(sql, &[&taken.backend, &self.name.owner, &taken.epoch, &account.as_str(), &device]).await?;
        Ok(!rows.is_empty())
    }

    /// Whether somebody has asked in Odoo to set up encryption, for the configuration with which the account is followed. A newer one may be of
    /// another device.
    pub async fn setup_asked(&self, following: &Following) -> Result<Option<SetupAsked>, StoreError> {
        let sql = include_str!("../../sql/crypto_request.sql");
        let config_version = following.config_version;
        let rows = self.query(sql, &[&following.backend, &config_version]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(SetupAsked { config_version, at: value(row, "requested_at")? }))
    }

    /// The request to set up encryption, which is gone from the database afterwards. `None` if it was replaced or withdrawn.
    pub async fn take_setup_request(
        &self,
        taken: KeysTaken,
        asked: SetupAsked,
    ) -> Result<Option<SetupRequest>, StoreError> {
        let sql = include_str!("../../sql/crypto_request_take.sql");
        let (owner, SetupAsked { config_version, at }) = (&self.name.owner, asked);
        let rows =
            self.query(sql, &[&taken.backend, owner, &taken.epoch, &REQUEST_LASTS, &config_version, &at]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(SetupRequest {
            kind: value(row, "kind")?,
            secret_sealed: value(row, "secret_sealed")?,
            is_expired: value(row, "is_expired")?,
        }))
    }

    /// Stores what people see of the device: its fingerprint, whether it is signed or why not, and how a request has ended.
    pub async fn device_is(
        &self,
        taken: KeysTaken,
        fingerprint: Option<&str>,
        signature: Option<Result<(), &str>>,
        ended: Option<&SetupEnd>,
    ) -> Result<(), StoreError> {
        let word = signature.map(|signature| if signature.is_ok() { "signed" } else { "missing" });
        let missing = signature.and_then(Result::err).map(bounded);
        let end = ended.map(|ended| if ended.is_ok() { "done" } else { "failed" });
        let failed = ended.and_then(|ended| ended.as_ref().err()).map(|reason| bounded(reason));
        let (owner, epoch) = (&self.name.owner, taken.epoch);
        let sql = include_str!("../../sql/crypto_signature.sql");
        self.query(sql, &[&taken.backend, owner, &epoch, &fingerprint, &word, &missing, &end, &failed]).await.map(drop)
    }

    /// Remembers for ever that a room is encrypted.
    pub async fn saw_encrypted(&self, backend: BackendId, room: &RoomId) -> Result<(), StoreError> {
        self.query(include_str!("../../sql/encrypted_room.sql"), &[&backend, &room.as_str()]).await.map(drop)
    }

    /// All items, sealed; `None` if another worker has taken the keys.
    pub async fn key_items(&self, taken: KeysTaken) -> Result<Option<Vec<(ItemName, String)>>, StoreError> {
        let rows = self.query(ITEMS, &[&taken.backend, &self.name.owner, &taken.epoch]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        rows.iter().filter_map(|row| item(row).transpose()).collect::<Result<_, _>>().map(Some)
    }

    /// Writes and removes items, all or nothing; false when another worker has taken the keys.
    pub async fn save_key_items(
        &self,
        taken: KeysTaken,
        written: &[(ItemName, String)],
        removed: &[ItemName],
    ) -> Result<bool, StoreError> {
        let kinds: Vec<_> = written.iter().map(|(name, _)| name.kind.as_str()).collect();
        let keys: Vec<_> = written.iter().map(|(name, _)| name.key.as_str()).collect();
        let sealed: Vec<_> = written.iter().map(|(_, sealed)| sealed.as_str()).collect();
        let gone_kinds: Vec<_> = removed.iter().map(|name| name.kind.as_str()).collect();
        let gone_keys: Vec<_> = removed.iter().map(|name| name.key.as_str()).collect();
        let (backend, epoch, owner) = (taken.backend, taken.epoch, &self.name.owner);
        let rows =
            self.query(SAVE, &[&backend, owner, &epoch, &kinds, &keys, &sealed, &gone_kinds, &gone_keys]).await?;
        Ok(!rows.is_empty())
    }

    /// Stores whether the keys may be used, and why not.
    pub async fn keys_are(&self, taken: KeysTaken, state: KeysState, reason: Option<&str>) -> Result<(), StoreError> {
        let (owner, reason) = (&self.name.owner, reason.map(bounded));
        self.query(STATE, &[&taken.backend, owner, &taken.epoch, &state.as_str(), &reason]).await.map(drop)
    }
}

fn item(row: &Row) -> Result<Option<(ItemName, String)>, StoreError> {
    let Some(kind) = value(row, "kind")? else { return Ok(None) };
    Ok(Some((ItemName { kind, key: value(row, "key")? }, value(row, "sealed")?)))
}
