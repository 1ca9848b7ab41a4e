//! Files on the homeserver. The address comes first, then the file, so that a repeated upload finds out that the file is there already.

use std::{fmt, time::Duration};

use reqwest::{Method, header::HeaderValue};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::{ANSWER_LIMIT, Homeserver, SendError, answer::lenient, direct::is_unknown_endpoint, finish};

/// The slowest connection that files are sent over, in bytes per second.
const SLOWEST: u64 = 64 << 10;

/// How long the transfer of this many bytes may take.
pub fn longest_transfer(bytes: u64) -> Duration {
    Duration::from_secs(bytes / SLOWEST)
}

/// The address of a file: `mxc://<server>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentUri(String);

/// A file as it is uploaded.
pub struct File {
    pub name: String,
    pub mimetype: String,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for File {
    /// Without its contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("bytes", &self.bytes.len()).finish()
    }
}

impl ContentUri {
    pub fn parse(text: &str) -> Option<Self> {
        let (server, id) = text.strip_prefix("mxc://")?.split_once('/')?;
        (!server.is_empty() && !id.is_empty() && !id.contains('/')).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Server and id.
    fn parts(&self) -> (&str, &str) {
        self.0["mxc://".len()..].split_once('/').expect("checked by parse")
    }
}

/// An answer that gives a file's address.
#[derive(Deserialize)]
struct Addressed {
    content_uri: String,
}

impl Addressed {
    fn address(&self) -> Result<ContentUri, SendError> {
        ContentUri::parse(&self.content_uri).ok_or(SendError::not_matrix())
    }
}

impl Homeserver {
    /// The largest file that the homeserver accepts, if it says.
    pub async fn largest_file(&self) -> Result<Option<u64>, SendError> {
        #[derive(Deserialize)]
        struct Limits {
            #[serde(rename = "m.upload.size", default, deserialize_with = "lenient")]
            upload_size: Option<u64>,
        }
        let ask = async |api: &[&str]| {
            let bounds = (self.timeout, ANSWER_LIMIT);
            self.ask(Method::GET, (api, &["config"]), &[], None, bounds).await
        };
        let limits: Limits = match ask(&["client", "v1", "media"]).await {
            // Before version 1.11 of the specification.
            Err(error) if is_unknown_endpoint(&error) => ask(&["media", "v3"]).await?,
            answer => answer?,
        };
        Ok(limits.upload_size)
    }

    /// `POST /_matrix/media/v1/create`: an address for a file that is uploaded later; `None` where the homeserver cannot do that.
    pub async fn file_address(&self) -> Result<Option<ContentUri>, SendError> {
        let body = Some(("application/json", "{}".into()));
        let bounds = (self.timeout, ANSWER_LIMIT);
        match self.ask::<Addressed>(Method::POST, (&["media", "v1"], &["create"]), &[], body, bounds).await {
            Err(error) if is_unknown_endpoint(&error) => Ok(None),
            answer => answer?.address().map(Some),
        }
    }

    /// `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`. False if the address has expired, because nothing was uploaded to it for too long.
    pub async fn upload_to(&self, address: &ContentUri, file: File) -> Result<bool, SendError> {
        let (server, id) = address.parts();
        match self.upload::<IgnoredAny>(Method::PUT, &["upload", server, id], file).await {
            // It was uploaded before and its answer was lost, or that upload is still being stored.
            Err(SendError::Refused { errcode, .. }) if errcode == "M_CANNOT_OVERWRITE_MEDIA" => {
                self.has_file(address).await
            }
            Err(SendError::Refused { errcode, .. }) if errcode == "M_NOT_FOUND" => Ok(false),
            answer => answer.map(|_| true),
        }
    }

    /// Whether there is a file at an address. `M_NOT_YET_UPLOADED` while it is still being stored. The file itself is not read.
    async fn has_file(&self, address: &ContentUri) -> Result<bool, SendError> {
        let (server, id) = address.parts();
        let ask = async |api: &[&str]| {
            let (path, query) = (["download", server, id], [("timeout_ms", "0")]);
            let answer = self.begin(Method::GET, (api, &path), &query, None, self.timeout).await?;
            // The homeserver may redirect to where it keeps its files.
            if matches!(answer.status().as_u16(), 200..=399) {
                return Ok(true);
            }
            self.read::<IgnoredAny>(finish(answer, ANSWER_LIMIT).await?).map(|_| true)
        };
        let answer = match ask(&["client", "v1", "media"]).await {
            // Before version 1.11 of the specification.
            Err(SendError::Refused { errcode, .. }) if errcode == "M_UNRECOGNIZED" => ask(&["media", "v3"]).await,
            answer => answer,
        };
        match answer {
            Err(SendError::Refused { errcode, .. }) if errcode == "M_NOT_FOUND" => Ok(false),
            answer => answer,
        }
    }

    /// `POST /_matrix/media/v3/upload`, for homeservers that give no address in advance.
    pub async fn upload_at_once(&self, file: File) -> Result<ContentUri, SendError> {
        self.upload::<Addressed>(Method::POST, &["upload"], file).await?.address()
    }

    async fn upload<T: DeserializeOwned>(&self, method: Method, path: &[&str], file: File) -> Result<T, SendError> {
        let kind = HeaderValue::from_str(&file.mimetype).is_ok().then_some(&*file.mimetype);
        let patience = self.timeout + longest_transfer(file.bytes.len() as u64);
        let body = Some((kind.unwrap_or("application/octet-stream"), file.bytes.into()));
        let query = [("filename", &*file.name)];
        // An encrypted file does not tell its name.
        let query = if file.name.is_empty() { &[] } else { &query[..] };
        self.ask(method, (&["media", "v3"], path), query, body, (patience, ANSWER_LIMIT)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_server_and_a_file_is_an_address() {
        for text in ["mxc://x.org/abc", "mxc://x.org:8448/a"] {
            assert_eq!(ContentUri::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "mxc://", "mxc://x.org", "mxc://x.org/", "mxc:///a", "https://x.org/a", "mxc://x.org/a/b"] {
            assert_eq!(ContentUri::parse(text), None, "{text}");
        }
    }
}
