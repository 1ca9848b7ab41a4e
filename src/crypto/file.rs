//! Encrypted files: the homeserver has the ciphertext, and the key is in the message.

use std::io::Read as _;

use matrix_sdk_crypto::AttachmentEncryptor;
use serde_json::Value;

/// Encrypts a file with a key of its own. Returns the ciphertext, and what the message says about it except for its address.
pub(crate) fn encrypt_file(bytes: Vec<u8>) -> (Vec<u8>, Value) {
    let mut encrypted = Vec::with_capacity(bytes.len());
    let mut plain = bytes.as_slice();
    let mut encryptor = AttachmentEncryptor::new(&mut plain);
    encryptor.read_to_end(&mut encrypted).expect("memory can be read");
    let key = serde_json::to_value(encryptor.finish()).expect("a key is JSON");
    (encrypted, key)
}
