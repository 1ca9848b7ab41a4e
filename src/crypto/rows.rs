//! The items of one account's device in the database: sealed, and written only while nobody else has taken the keys.

use std::time::Duration;

use matrix_sdk_crypto::CryptoStoreError;
use secrecy::ExposeSecret as _;
use thiserror::Error;
use tokio::time::sleep;
use tracing::warn;

use super::items::{Item, Items};
use crate::{
    failpoint::{self, Point},
    seal::{Keys, OpenError},
    store::{ItemName, KeysTaken, Store, StoreError},
};

/// How often a save is tried while the database is unavailable. It is safe to repeat it.
const TRIES: u32 = 5;

const PAUSE: Duration = Duration::from_millis(200);

/// Why keys cannot be used any more. After any of these the machine that uses them is given up, and is loaded from the database again.
#[derive(Debug, Error)]
pub enum KeysError {
    #[error("another worker holds the keys of this account now")]
    Fenced,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the worker has no key to seal with: set MATRIX_TOKEN_KEY_FILE or MATRIX_TOKEN_KEY to the matrix_token_key of odoo.conf"
    )]
    NoKey,
    #[error(transparent)]
    Sealed(#[from] OpenError),
    #[error("a stored item of encryption ({kind}) cannot be used: {reason}")]
    Unusable { kind: String, reason: String },
    #[error(
        "a part of the stored keys is missing: the database's tables matrix_crypto and matrix_crypto_item were changed by hand"
    )]
    Lost,
    #[error("the worker does not use {0}")]
    Unsupported(&'static str),
    #[error("an item of encryption could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<KeysError> for CryptoStoreError {
    fn from(error: KeysError) -> Self {
        Self::backend(error)
    }
}

/// The device's items in the database.
pub(super) struct Rows {
    store: Store,
    keys: Keys,
    taken: KeysTaken,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Rows").field(&self.taken).finish()
    }
}

impl Rows {
    pub(super) fn new(store: Store, keys: Keys, taken: KeysTaken) -> Self {
        Self { store, keys, taken }
    }

    pub(super) async fn load(&self) -> Result<Vec<Item>, KeysError> {
        let rows = self.store.key_items(self.taken).await?.ok_or(KeysError::Fenced)?;
        let open = |(name, sealed): &(ItemName, String)| {
            // Nothing was ever written without a token key.
            let sealed = Some(sealed.as_str()).filter(|sealed| sealed.starts_with("fernet:"));
            let text = self.keys.open("stored key of encryption", sealed)?;
            Item::open(name, text.expose_secret())
        };
        rows.iter().map(open).collect()
    }

    pub(super) async fn save(&self, items: Items) -> Result<(), KeysError> {
        if items.is_empty() {
            return Ok(());
        }
        let (mut written, mut removed) = (Vec::new(), Vec::new());
        for (name, text) in items.iter() {
            match text {
                Some(text) => {
                    written.push((name.clone(), self.keys.seal(text.as_bytes()).ok_or(KeysError::NoKey)?));
                }
                None => removed.push(name.clone()),
            }
        }
        let mut tries = 1;
        loop {
            match self.store.save_key_items(self.taken, &written, &removed).await {
                Ok(true) => {
                    failpoint::reach(Point::KeysStored).await;
                    return Ok(());
                }
                Ok(false) => return Err(KeysError::Fenced),
                Err(error) if error.is_passing() && tries < TRIES => {
                    warn!(%error, backend.id = self.taken.backend, "Keys of encryption are not stored yet; trying again");
                    sleep(PAUSE * tries).await;
                    tries += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
