//! The file of a message that waits: asked of Odoo with proof of who asks, for this file alone and for a short time.

use std::time::Duration;

use super::{naming, transport};
use crate::{causes::with_causes, http};

/// Where Odoo gives the files of one backend.
pub(crate) struct Files<'a> {
    /// As Odoo has it: an address to which the file's name is added.
    pub url: &'a str,
    /// Tells an Odoo that serves several databases which one is meant.
    pub database: &'a str,
    pub timeout: Duration,
    /// Nothing longer is read.
    pub most: u64,
}

/// Why Odoo gave no file, in plain words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoFile {
    /// Odoo is away or busy: the same again later.
    Later(String),
    /// Asking again would not help.
    Refused(String),
}

impl Files<'_> {
    /// `GET` of the file `name`, with `proof` as a bearer token.
    ///
    /// # Errors
    /// Says whether to ask again.
    pub(crate) async fn get(&self, name: &str, proof: &str) -> Result<Vec<u8>, NoFile> {
        let refused = |text: &str| NoFile::Refused(text.to_owned());
        let mut url = reqwest::Url::parse(self.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| refused("the address of Odoo's files cannot be used; correct it on the backend in Odoo"))?;
        url.path_segments_mut().expect("an http URL has a path").pop_if_empty().push(name);
        let http = http::client(&url, true, self.timeout).map_err(|error| NoFile::Refused(with_causes(&error)))?;
        let later = |error| NoFile::Later(transport(error));
        let mut answer = naming(http.get(url).bearer_auth(proof), self.database).send().await.map_err(later)?;
        judge(answer.status().as_u16())?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(later)? {
            if (bytes.len() + chunk.len()) as u64 > self.most {
                return Err(refused("the file that Odoo gave is larger than the homeserver takes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

fn judge(status: u16) -> Result<(), NoFile> {
    let reason = match status {
        200 => return Ok(()),
        401 | 403 => {
            "Odoo does not accept the worker's request for the file; the worker and Odoo need the same database and the same access token"
        }
        404 | 410 => {
            "the file is not in Odoo any more, or Odoo's files are not at the address on the backend; if Odoo serves several databases, \
             its --db-filter decides, too"
        }
        413 => "the file is larger than Odoo gives",
        300..=399 => "the address of Odoo's files redirects elsewhere; set the address that it redirects to",
        429 | 500.. => return Err(NoFile::Later(format!("Odoo does not give the file at present (HTTP {status})"))),
        _ => "what answers at the address of Odoo's files is not Odoo",
    };
    Err(NoFile::Refused(format!("{reason} (HTTP {status})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_asked_for_again_only_where_that_may_help() {
        for status in 100..=599 {
            match (status, judge(status)) {
                (200, Ok(())) | (429 | 500.., Err(NoFile::Later(_))) => {}
                (200 | 429 | 500.., other) => panic!("{status}: {other:?}"),
                (_, other) => assert!(matches!(other, Err(NoFile::Refused(_))), "{status}: {other:?}"),
            }
        }
    }
}
