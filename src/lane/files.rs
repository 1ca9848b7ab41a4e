//! A message that is a file: the homeserver must have the file before the message can name it.
//!
//! The file is fetched from Odoo; then the homeserver gives an address, which is stored with the message before the file is uploaded there. A
//! worker that repeats any of this finds what was done before, so a file is uploaded once, whenever a worker is stopped.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tracing::warn;

use super::{
    Delivery,
    route::{SHORTEST_REST, Step},
};
use crate::{
    backoff,
    failpoint::{self, Point},
    matrix::{ContentUri, File, Homeserver, SendError, longest_transfer},
    message::{Failure, Message, Outcome, code},
    store::{FileKey, KnownFile, StoreError},
    webhook::{Files, NoFile},
};

/// No larger file is sent, whatever the homeserver accepts.
pub(super) const LARGEST: u64 = 100 << 20;

/// Files in memory at the same time, in KiB. A larger file is sent on its own.
const MEMORY: u32 = 64 << 10;

/// How long the worker's proof that it may fetch a file is valid, in seconds.
const PROOF_LASTS: i64 = 60;

/// How long a lane rests if its account is already uploading as many files as it may. Other rooms get the lane's place.
pub(super) const REST: Duration = Duration::from_secs(5);

/// Space in memory for files that are being transferred.
#[derive(Clone)]
pub(crate) struct FileRoom(Arc<Semaphore>);

impl Default for FileRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY as usize)))
    }
}

impl FileRoom {
    /// Waits until there is space. That takes no longer than the other files, each of which has its time limits.
    pub(super) async fn take(&self, bytes: u64) -> OwnedSemaphorePermit {
        let kib = u32::try_from(bytes >> 10).unwrap_or(MEMORY).saturating_add(1).min(MEMORY);
        self.0.clone().acquire_many_owned(kib).await.expect("nobody closes it")
    }
}

/// `message` as it is sent: with the address of its file, which the homeserver has now.
pub(super) async fn uploaded<'m>(
    delivery: &Delivery<'_>,
    homeserver: &Homeserver,
    message: &'m Message,
    encrypts: bool,
) -> Result<Cow<'m, Message>, Step> {
    if !message.has_file {
        return Ok(Cow::Borrowed(message));
    }
    let content: Map<String, Value> = serde_json::from_str(&message.content).expect("checked when it was read");
    let known = known(delivery, message).await?;
    #[cfg(feature = "encryption")]
    if encrypts {
        return super::encrypted_file::uploaded(delivery, homeserver, message, content, &known).await;
    }
    assert!(!encrypts, "a worker without encryption sends nothing that was to be encrypted");
    // An encrypted file is of no use in a room that is not encrypted.
    let mut address = known.address.as_deref().filter(|_| known.key_sealed.is_none()).and_then(ContentUri::parse);
    if let Some(address) = address.as_ref().filter(|_| known.is_uploaded) {
        return Ok(Cow::Owned(naming(message, content, &Place::Plain(address))));
    }
    let Ok(_place) = delivery.backend.uploads.try_acquire() else {
        return Err(Step::LaneLimited(backoff::with_jitter(REST)));
    };
    let key = if known.key_sealed.is_some() { FileKey::Dropped } else { FileKey::Never };
    let media = Media { delivery, homeserver, message };
    let size = content.get("info").and_then(|info| info.get("size")).and_then(Value::as_u64).unwrap_or(LARGEST);
    let most = media.check_size(size).await?;
    let _room = delivery.context.files.take(size).await;
    for is_last in [false, true] {
        let file = media.fetch(&content, size, most).await?;
        // An address expires if nothing was uploaded to it for a day: then another one is requested.
        let given = match address.take() {
            Some(address) => Some(address),
            None => {
                let given = media.new_address().await?;
                if let Some(given) = &given {
                    media.keep(given, false, key).await?;
                }
                given
            }
        };
        let uploaded = match &given {
            Some(given) => homeserver.upload_to(given, file).await.map(|is_there| is_there.then(|| given.clone())),
            None => homeserver.upload_at_once(file).await.map(Some),
        };
        failpoint::reach(Point::Uploaded).await;
        match uploaded {
            Ok(Some(address)) => {
                media.keep(&address, true, key).await?;
                return Ok(Cow::Owned(naming(message, content, &Place::Plain(&address))));
            }
            Ok(None) => {}
            // One retry, as for every message.
            Err(error) if !is_last && matches!(error.outcome_elsewhere(), Outcome::Transient { .. }) => {
                address = given;
                sleep(backoff::with_jitter(delivery.context.retry_delay)).await;
            }
            Err(error) => return Err(media.refused(error).await),
        }
    }
    Err(Step::LaneLimited(SHORTEST_REST))
}

/// What is known about the file at this moment.
async fn known(delivery: &Delivery<'_>, message: &Message) -> Result<KnownFile, Step> {
    let known = delivery.context.store.file(&delivery.claim.lane, message.id).await;
    known.map_err(|error| unread(&error))?.ok_or(Step::Fenced)
}

/// The calls for one file.
pub(super) struct Media<'a> {
    pub(super) delivery: &'a Delivery<'a>,
    pub(super) homeserver: &'a Homeserver,
    pub(super) message: &'a Message,
}

impl Media<'_> {
    /// Stores the file's address and key, also before it is uploaded.
    pub(super) async fn keep(&self, address: &ContentUri, is_there: bool, key: FileKey<'_>) -> Result<(), Step> {
        let (store, lease) = (&self.delivery.context.store, self.delivery.claim.lease());
        match store.file_stored(&lease, self.message.id, address.as_str(), is_there, key).await {
            Ok(true) => {}
            Ok(false) => return Err(Step::Fenced),
            Err(error) => return Err(unread(&error)),
        }
        failpoint::reach_if(!is_there, Point::AddressStored).await;
        Ok(())
    }

    /// The largest size that the file may have, in bytes.
    pub(super) async fn check_size(&self, size: u64) -> Result<u64, Step> {
        let most = match self.homeserver.largest_file().await {
            Ok(most) => most.unwrap_or(LARGEST).min(LARGEST),
            // The homeserver does not say.
            Err(error) if error.is_refusal() => LARGEST,
            Err(error) => return Err(self.refused(error).await),
        };
        if size <= most {
            return Ok(most);
        }
        let text = format!("the file is too large: {}, and at most {} are taken", megabytes(size), megabytes(most));
        Err(rejected("M_TOO_LARGE", text))
    }

    pub(super) async fn new_address(&self) -> Result<Option<ContentUri>, Step> {
        let given = match self.homeserver.file_address().await {
            // Synapse gives an account at most five addresses without an upload. The file is uploaded without an address.
            Err(error) if matches!(error.outcome_elsewhere(), Outcome::Limited { .. }) => None,
            Err(error) => return Err(self.refused(error).await),
            Ok(given) => given,
        };
        failpoint::reach(Point::AddressGiven).await;
        Ok(given)
    }

    /// The file, fetched from Odoo.
    pub(super) async fn fetch(&self, content: &Map<String, Value>, size: u64, most: u64) -> Result<File, Step> {
        // Read again: the proof is valid for a short time, and waiting may have used it up.
        let known = known(self.delivery, self.message).await?;
        let Some(url) = known.files_url.as_deref().filter(|url| !url.is_empty()) else {
            return Err(rejected(
                code::FILE,
                "the backend sends no files: turn on «Send Files» on it in Odoo".to_owned(),
            ));
        };
        let (backend, txn_id) = (self.delivery.backend.id, self.message.txn_id.as_str());
        let until = known.now + PROOF_LASTS;
        // Odoo signs the same text: controllers/files.py of the addon.
        let proof = self.homeserver.sign(&format!("org.odoo.file {backend} {txn_id} {until}"));
        let timeout = self.delivery.context.http_timeout + longest_transfer(size);
        let files = Files { url, database: &known.database, timeout, most };
        let info = |key| content.get("info").and_then(|info| info.get(key)).and_then(Value::as_str);
        match files.get(txn_id, &format!("{until}.{proof}")).await {
            Ok(bytes) => Ok(File {
                name: content.get("body").and_then(Value::as_str).unwrap_or_default().to_owned(),
                mimetype: info("mimetype").unwrap_or_default().to_owned(),
                bytes,
            }),
            Err(NoFile::Refused(text)) => Err(rejected(code::FILE, text)),
            Err(NoFile::Later(text)) => {
                Err(self.delivery.awaits(self.homeserver, self.message, Failure::new(code::FILE, text)).await)
            }
        }
    }

    /// The homeserver did not accept the file. That says nothing about messages without files, so only this room waits.
    pub(super) async fn refused(&self, error: SendError) -> Step {
        match Step::from(error) {
            Step::Answered(Outcome::Transient { failure, .. } | Outcome::Misconfigured(failure)) => {
                self.delivery.awaits(self.homeserver, self.message, failure).await
            }
            step => step,
        }
    }
}

fn unread(error: &StoreError) -> Step {
    warn!(%error, "The address of a file could not be read or stored");
    Step::LaneLimited(SHORTEST_REST)
}

fn rejected(code: &str, text: String) -> Step {
    Step::Answered(Outcome::Rejected(Failure::new(code, text)))
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let megabytes = bytes as f64 / f64::from(1 << 20);
    format!("{megabytes:.1} MB")
}

/// Where a message says that its file is.
pub(super) enum Place<'a> {
    Plain(&'a ContentUri),
    /// With the key.
    #[cfg(feature = "encryption")]
    Encrypted(Value),
}

/// The message with the address of its file. Odoo leaves out what is only true once there is an address.
pub(super) fn naming(message: &Message, mut content: Map<String, Value>, place: &Place<'_>) -> Message {
    let mimetype = content.get("info").and_then(|info| info.get("mimetype")).and_then(Value::as_str);
    let kind = match mimetype.and_then(|mimetype| mimetype.split('/').next()) {
        Some("image") => "m.image",
        Some("video") => "m.video",
        Some("audio") => "m.audio",
        _ => "m.file",
    };
    content.insert("msgtype".to_owned(), json!(kind));
    match place {
        Place::Plain(address) => content.insert("url".to_owned(), json!(address.as_str())),
        #[cfg(feature = "encryption")]
        Place::Encrypted(file) => content.insert("file".to_owned(), file.clone()),
    };
    Message { content: Value::Object(content).to_string(), ..message.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_larger_than_the_memory_for_files_waits_for_all_of_it() {
        let room = FileRoom::default();

        let alone = room.take(LARGEST).await;

        assert_eq!(room.0.available_permits(), 0);
        drop(alone);
        let _small = room.take(10).await;
        assert_eq!(room.0.available_permits(), MEMORY as usize - 1);
    }
}
