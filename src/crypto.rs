//! End-to-end encryption of one account: its [`Device`], and what that must not forget ([`KeyStore`]).
//!
//! Built with the feature `encryption` only. `docs/encryption.md` says what is protected from whom, and how far this is.

mod device;
mod error;
mod items;
mod rows;
mod store;

pub use self::{
    device::{Device, EncryptedRoom, Signature},
    error::CryptoError,
    rows::KeysError,
    store::KeyStore,
};
