//! End-to-end encryption of one account: its [`Device`], and the store of the device's keys ([`KeyStore`]).
//!
//! Built with the feature `encryption` only. `docs/encryption.md` says what is protected against whom, and how much of this is done.

mod device;
mod devices;
mod error;
mod file;
mod items;
mod rows;
mod store;

pub use self::{
    device::{Decrypted, Device, Encrypted, EncryptedRoom, NoKey, Secret, Signature, Unverified},
    error::CryptoError,
    rows::KeysError,
    store::KeyStore,
};
pub(crate) use self::{
    devices::{Devices, Holding, Opened},
    file::encrypt_file,
};
