//! End-to-end encryption of one account: its [`Device`], and the store of the device's keys ([`KeyStore`]).
//!
//! Built with the feature `encryption` only. `docs/encryption.md` says what is protected against whom, and how much of this is done.

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
