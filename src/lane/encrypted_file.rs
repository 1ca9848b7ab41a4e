//! A file for an encrypted room. The homeserver gets the ciphertext only, and nothing of its name and type.
//!
//! Each upload has a key of its own, which is stored sealed with the address before the file is uploaded. A worker that dies in between uploads
//! the file again with another key: a key is never used for two texts.

use std::borrow::Cow;

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{
    Delivery,
    files::{self, LARGEST, Media, Place, REST},
    route::{SHORTEST_REST, Step},
};
use crate::{
    backoff,
    crypto::encrypt_file,
    failpoint::{self, Point},
    matrix::{ContentUri, File, Homeserver},
    message::{Message, Outcome},
    store::{FileKey, KnownFile},
};

/// `message` as it is sent: with the address and the key of its file, which the homeserver has now.
pub(super) async fn uploaded<'m>(
    delivery: &Delivery<'_>,
    homeserver: &Homeserver,
    message: &'m Message,
    content: Map<String, Value>,
    known: &KnownFile,
) -> Result<Cow<'m, Message>, Step> {
    if let Some(file) = before(delivery, known) {
        return Ok(Cow::Owned(files::naming(message, content, &Place::Encrypted(file))));
    }
    let Ok(_place) = delivery.backend.uploads.try_acquire() else {
        return Err(Step::LaneLimited(backoff::with_jitter(REST)));
    };
    let media = Media { delivery, homeserver, message };
    let size = content.get("info").and_then(|info| info.get("size")).and_then(Value::as_u64).unwrap_or(LARGEST);
    let most = media.check_size(size).await?;
    // The file and its ciphertext.
    let _room = delivery.context.files.take(size.saturating_mul(2)).await;
    for is_last in [false, true] {
        let file = media.fetch(&content, size, most).await?;
        let (bytes, key) = encrypt_file(file.bytes);
        let file = File { name: String::new(), mimetype: String::new(), bytes };
        // Never an address that something may have been uploaded to with another key.
        let given = media.new_address().await?;
        if let Some(given) = &given {
            keep(&media, &key, given, false).await?;
        }
        let uploaded = match given {
            Some(given) => homeserver.upload_to(&given, file).await.map(|is_there| is_there.then_some(given)),
            None => homeserver.upload_at_once(file).await.map(Some),
        };
        failpoint::reach(Point::Uploaded).await;
        match uploaded {
            Ok(Some(address)) => {
                let file = keep(&media, &key, &address, true).await?;
                return Ok(Cow::Owned(files::naming(message, content, &Place::Encrypted(file))));
            }
            Ok(None) => {}
            // One retry, as for every message.
            Err(error) if !is_last && matches!(error.outcome_elsewhere(), Outcome::Transient { .. }) => {
                sleep(backoff::with_jitter(delivery.context.retry_delay)).await;
            }
            Err(error) => return Err(media.refused(error).await),
        }
    }
    Err(Step::LaneLimited(SHORTEST_REST))
}

/// What an earlier try has uploaded.
fn before(delivery: &Delivery<'_>, known: &KnownFile) -> Option<Value> {
    let sealed = known.key_sealed.as_deref().filter(|_| known.is_uploaded);
    let text = delivery.context.keys.open("key of a file", Some(sealed?)).ok()?;
    let file: Value = serde_json::from_str(text.expose_secret()).ok()?;
    (file["url"].as_str() == known.address.as_deref()).then_some(file)
}

/// Stores the file's address with its key. Returns what the message says about the file.
async fn keep(media: &Media<'_>, key: &Value, address: &ContentUri, is_there: bool) -> Result<Value, Step> {
    let mut file = key.clone();
    file["url"] = json!(address.as_str());
    // The device itself is not opened without a key to seal with.
    let Some(sealed) = media.delivery.context.keys.seal(file.to_string().as_bytes()) else { return Err(Step::Fenced) };
    media.keep(address, is_there, FileKey::Sealed(&sealed)).await?;
    Ok(file)
}
