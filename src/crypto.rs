//! End-to-end encryption of one account's device: what it must not forget ([`KeyStore`]).
//!
//! Built with the feature `encryption` only. `docs/encryption.md` says what is protected from whom, and how far this is.

mod items;
mod rows;
mod store;

pub use self::{rows::KeysError, store::KeyStore};
