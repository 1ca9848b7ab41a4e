//! Errors of encryption.

use matrix_sdk_crypto::{CryptoStoreError, MegolmError, OlmError, SessionRecipientCollectionError};
use thiserror::Error;

use super::rows::KeysError;
use crate::{
    matrix::SendError,
    store::{KeysState, StoreError},
};

/// The longest content that may be encrypted: encryption makes it at least a third longer, and the homeserver accepts events of 64 KiB.
pub(super) const LONGEST: usize = 45 << 10;

const UNSIGNED: &str = "the backend lets only verified devices read, and its own device is not verified; click «Verify Device» on the backend in \
    Odoo";

#[derive(Debug, Error)]
pub enum CryptoError {
    /// The device in memory is given up, and is loaded from the database again.
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Homeserver(#[from] SendError),
    /// The homeserver did not take the account's own keys, or did not say which devices people have. Every encrypted room needs that.
    #[error(transparent)]
    Account(SendError),
    /// The keys must not be used until a person has solved the problem.
    #[error("{reason}")]
    Refused { state: KeysState, reason: String },
    /// The homeserver does not have the device any more as which an application service acts. So it refuses every call.
    #[error("{reason}")]
    Removed { error: SendError, reason: String },
    /// There is no time left for another call, or sending is not allowed.
    #[error("no call may be made any more")]
    Stopped,
    #[error("the message is longer than one for an encrypted room may be ({} KB)", LONGEST >> 10)]
    TooLong,
    /// The homeserver's answer, or a message, does not follow the Matrix specification.
    #[error("{0}")]
    Unusable(String),
}

impl CryptoError {
    /// Whether the crypto machine in memory may differ from what is stored.
    pub fn ends_the_device(&self) -> bool {
        matches!(self, Self::Keys(_) | Self::Refused { .. })
    }

    /// Trouble with the homeserver that is not about one room.
    pub(super) fn of_account(self) -> Self {
        match self {
            Self::Homeserver(error) => Self::Account(error),
            other => other,
        }
    }

    pub(super) fn unusable(what: &str, error: &impl std::fmt::Display) -> Self {
        Self::Unusable(format!("{what} cannot be used: {error}"))
    }
}

impl From<StoreError> for CryptoError {
    fn from(error: StoreError) -> Self {
        Self::Keys(error.into())
    }
}

impl From<CryptoStoreError> for CryptoError {
    fn from(error: CryptoStoreError) -> Self {
        match error {
            CryptoStoreError::Backend(error) => match error.downcast::<KeysError>() {
                Ok(error) => Self::Keys(*error),
                Err(error) => Self::unusable("the stored state of encryption", &error),
            },
            error => Self::unusable("the stored state of encryption", &error),
        }
    }
}

impl From<OlmError> for CryptoError {
    fn from(error: OlmError) -> Self {
        match error {
            OlmError::Store(error) => error.into(),
            OlmError::SessionRecipientCollectionError(
                SessionRecipientCollectionError::CrossSigningNotSetup
                | SessionRecipientCollectionError::SendingFromUnverifiedDevice,
            ) => Self::Unusable(UNSIGNED.to_owned()),
            error => Self::unusable("a session with another device", &error),
        }
    }
}

impl From<MegolmError> for CryptoError {
    fn from(error: MegolmError) -> Self {
        match error {
            MegolmError::Store(error) => error.into(),
            error => Self::unusable("the room's key", &error),
        }
    }
}
