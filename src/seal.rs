//! Opens what Odoo sealed: `fernet:<token>` with one of our keys, `plain:<text>` without. Seals what only a worker is to read again.

use std::fmt;

use fernet::Fernet;
use secrecy::SecretString;
use thiserror::Error;

/// Why a sealed secret cannot be opened. Each names the secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    #[error("the backend has no {0}; set one in Odoo")]
    Absent(&'static str),
    #[error("the {0} is stored in a form that this worker does not know; set it again in Odoo")]
    UnknownForm(&'static str),
    #[error(
        "the {0} is sealed, and the worker has no key: set MATRIX_TOKEN_KEY_FILE or MATRIX_TOKEN_KEY to the matrix_token_key of odoo.conf"
    )]
    NoKey(&'static str),
    #[error("none of the worker's keys opens the {0}: give it the matrix_token_key of odoo.conf")]
    OtherKey(&'static str),
}

/// The Fernet keys that the worker was given. Several of them while a key is being replaced.
#[derive(Clone)]
pub struct Keys(Vec<Fernet>);

impl Keys {
    /// Keys in URL-safe base64, separated by commas or white space.
    ///
    /// # Errors
    /// The position, counted from 1, of the first that is not a key.
    pub fn parse(text: &str) -> Result<Self, usize> {
        text.split([',', '\n', '\r', ' ', '\t'])
            .filter(|key| !key.is_empty())
            .enumerate()
            .map(|(index, key)| Fernet::new(key).ok_or(index + 1))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The secret that `sealed` holds, which is the backend's `what`.
    ///
    /// # Errors
    /// Why it cannot be opened, and what to do.
    pub fn open(&self, what: &'static str, sealed: Option<&str>) -> Result<SecretString, OpenError> {
        let sealed = sealed.filter(|text| !text.is_empty()).ok_or(OpenError::Absent(what))?;
        if let Some(text) = sealed.strip_prefix("plain:") {
            return Ok(text.into());
        }
        let token = sealed.strip_prefix("fernet:").ok_or(OpenError::UnknownForm(what))?;
        if self.0.is_empty() {
            return Err(OpenError::NoKey(what));
        }
        self.0
            .iter()
            .find_map(|key| key.decrypt(token).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(SecretString::from)
            .ok_or(OpenError::OtherKey(what))
    }

    /// Seals with the first key; `None` without one.
    #[cfg(feature = "encryption")]
    pub fn seal(&self, text: &[u8]) -> Option<String> {
        self.0.first().map(|key| format!("fernet:{}", key.encrypt(text)))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_token_opens_with_the_old_or_the_new_key_while_both_are_given() {
        let (old, new) = (Fernet::generate_key(), Fernet::generate_key());
        let keys = Keys::parse(&format!("{new},{old}\n")).unwrap();
        let seal = |key: &str| format!("fernet:{}", Fernet::new(key).unwrap().encrypt(b"syt_secret"));

        for sealed in [seal(&old), seal(&new), "plain:syt_secret".to_owned()] {
            assert_eq!(keys.open("access token", Some(&sealed)).unwrap().expose_secret(), "syt_secret");
        }
    }

    #[cfg(feature = "encryption")]
    #[test]
    fn what_is_sealed_opens_again_and_nothing_is_sealed_without_a_key() {
        let (old, new) = (Fernet::generate_key(), Fernet::generate_key());
        let sealed = Keys::parse(&old).unwrap().seal(b"text").unwrap();

        let keys = Keys::parse(&format!("{new},{old}")).unwrap();
        assert_eq!(keys.open("text", Some(&sealed)).unwrap().expose_secret(), "text");
        assert!(Keys::parse(&old).unwrap().open("text", keys.seal(b"text").as_deref()).is_err(), "the first key seals");
        assert!(Keys::parse("").unwrap().seal(b"text").is_none());
    }

    #[test]
    fn what_cannot_be_opened_is_reported_with_the_fix() {
        let sealed = format!("fernet:{}", Fernet::new(&Fernet::generate_key()).unwrap().encrypt(b"x"));
        let other = Keys::parse(&Fernet::generate_key()).unwrap();

        let reason = |keys: &Keys, sealed| keys.open("access token", sealed).unwrap_err().to_string();
        assert!(reason(&Keys::parse("").unwrap(), Some(&sealed)).contains("MATRIX_TOKEN_KEY_FILE"));
        assert!(reason(&other, Some(&sealed)).contains("matrix_token_key"));
        assert!(reason(&other, Some("rot13:x")).contains("set it again in Odoo"));
        assert!(reason(&other, None).contains("no access token"));
        assert_eq!(Keys::parse("nonsense").unwrap_err(), 1);
    }
}
