//! Keeps the device's keys and sessions in PostgreSQL, sealed and fenced. All of them are in memory as well, from where they are read.
//!
//! The keys with which the device itself encrypts in rooms are in memory only: after a takeover, a restart or a restored backup new ones
//! are created, so that none is ever used for two texts.

mod as_crypto_store;

use std::convert::Infallible;

use matrix_sdk_crypto::{
    store::{
        CryptoStore as _, MemoryStore,
        types::{Changes, SecretsInboxItem},
    },
    vodozemac::Curve25519PublicKey,
};
use tokio::sync::Mutex;

use super::{
    items::{Items, Known},
    rows::{KeysError, Rows},
};
use crate::{
    seal::Keys,
    store::{KeysTaken, Store},
};

/// The keys of one account's device, for as long as nobody else takes them.
#[derive(Debug)]
pub struct KeyStore {
    memory: MemoryStore,
    rows: Rows,
    /// One save at a time, including the collection of what is to be saved: an older state must not overwrite a newer one.
    saving: Mutex<Saving>,
}

#[derive(Debug)]
struct Saving {
    /// The key by which other devices identify the keys of this one.
    own: Option<Curve25519PublicKey>,
}

impl KeyStore {
    /// Reads the keys that were taken.
    pub async fn open(store: Store, keys: Keys, taken: KeysTaken) -> Result<Self, KeysError> {
        let rows = Rows::new(store, keys, taken);
        let items = rows.load().await?;
        let mut known = Known::read(&items)?;
        if known.pending.account.is_none() {
            // The machine stores a new device before its keys. A worker that died in between has not published them. The account's signing
            // keys may be left from a former device.
            if items.iter().any(|item| !matches!(item.kind.as_str(), "device" | "identity")) {
                return Err(KeysError::Lost);
            }
            let left: Vec<_> = items.into_iter().filter(|item| item.kind == "identity").collect();
            known = Known::read(&left)?;
        }
        let own = known.pending.account.as_ref().map(|account| account.identity_keys().curve25519);
        let memory = MemoryStore::new();
        let tracked: Vec<_> = known.tracked.iter().map(|user| (&*user.user_id, user.dirty)).collect();
        in_memory(memory.save_pending_changes(known.pending).await);
        in_memory(memory.save_changes(known.changes).await);
        in_memory(memory.save_tracked_users(&tracked).await);
        for (key, value) in known.custom {
            in_memory(memory.set_custom_value(&key, value).await);
        }
        Ok(Self { memory, rows, saving: Mutex::new(Saving { own }) })
    }

    /// Secrets that others have sent are added to the existing ones.
    async fn secrets(&self, items: &mut Items, changes: &Changes) -> Result<(), KeysError> {
        for SecretsInboxItem { secret_name, .. } in &changes.secrets {
            let mut secrets = in_memory(self.memory.get_secrets_from_inbox(secret_name).await);
            let new = changes.secrets.iter().filter(|new| new.secret_name == *secret_name);
            secrets.extend(new.map(|new| new.secret.clone()));
            items.secrets(secret_name, &secrets)?;
        }
        Ok(())
    }
}

/// The store in memory never fails.
fn in_memory<T>(result: Result<T, Infallible>) -> T {
    result.unwrap_or_else(|never| match never {})
}
