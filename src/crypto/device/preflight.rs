//! Whether the keys in the database may be used. This is checked before anything is sent to the homeserver, because an upload replaces the
//! keys of a device even if the homeserver answers with a refusal.

use matrix_sdk_crypto::store::CryptoStore as _;
use serde_json::json;

use super::{CryptoError, KeyStore, KeysError, setup};
use crate::{
    matrix::{Homeserver, SendError},
    message::UserId,
    store::{Following, KeysFound, KeysState, Store},
};

const AGAIN: &str = "set up encryption again";

pub(super) fn no_device() -> CryptoError {
    refused(KeysState::Refused, format!("the access token has no device, and so can have no keys; {AGAIN}"))
}

fn refused(state: KeysState, reason: String) -> CryptoError {
    CryptoError::Refused { state, reason }
}

/// The homeserver does not have the device any more as which an application service acts. This is stored, and a request has failed for it:
/// somebody who asks for a new device makes that first.
pub(super) async fn forgotten(
    store: &Store,
    following: &Following,
    homeserver: &Homeserver,
    error: SendError,
) -> CryptoError {
    let Some((user, device)) = homeserver.acts_as() else { return error.into() };
    let Ok(me) = UserId::parse(user) else { return error.into() };
    let reason = format!("the homeserver does not have the device {device} of {user} any more; {AGAIN}");
    let removed = CryptoError::Removed { error, reason };
    let stored = async {
        let asked = store.setup_asked(following).await?;
        let found = store.take_keys(following, &me, device).await?.ok_or(KeysError::Fenced)?;
        store.keys_are(found.taken, KeysState::Lost, Some(&removed.to_string())).await?;
        setup::refused(store, found.taken, asked, &removed).await?;
        Ok::<_, CryptoError>(())
    };
    stored.await.err().unwrap_or(removed)
}

/// Whether the token is of another device than the keys that were taken.
pub(super) fn is_other_device(found: &KeysFound, me: &UserId, id: &str) -> bool {
    (&found.account, found.device.as_str()) != (me, id)
}

/// What the database says about the keys that were taken as `me` with the device `id`.
pub(super) fn taken(found: &KeysFound, me: &UserId, id: &str) -> Result<(), CryptoError> {
    if let Some(doubt) = &found.doubt {
        let reason =
            format!("{doubt}: its keys of encryption may have been used since, and are not used again; {AGAIN}");
        return Err(refused(KeysState::Moved, reason));
    }
    if is_other_device(found, me, id) {
        let (account, device) = (&found.account, &found.device);
        let reason = format!(
            "the keys are those of the device {device} of {account}, and the token is of {id} of {me}; {AGAIN}"
        );
        return Err(refused(KeysState::Lost, reason));
    }
    Ok(())
}

/// What the homeserver knows about the device.
pub(super) async fn at_homeserver(
    homeserver: &Homeserver,
    kept: &KeyStore,
    found: &KeysFound,
) -> Result<(), CryptoError> {
    let (me, id) = (&found.account, found.device.as_str());
    let account = kept.load_account().await?;
    let answer = homeserver.query_keys([me.as_str()]).await?;
    let there = answer["device_keys"][me.as_str()][id]["keys"][format!("ed25519:{id}")].as_str();
    let ours = account.as_ref().map(|account| account.identity_keys().ed25519.to_base64());
    match (ours.as_deref(), there) {
        (None, Some(_)) if !found.is_new => {
            return Err(refused(
                KeysState::Lost,
                format!("the device {id} has keys, which are gone from the database or were never in it; {AGAIN}"),
            ));
        }
        (None, Some(_)) => {
            return Err(refused(
                KeysState::Refused,
                format!(
                    "the access token is of the device {id}, which has keys already: it is another client's (Element?); {AGAIN} with a \
                     login of its own"
                ),
            ));
        }
        (Some(ours), Some(there)) if ours != there => {
            return Err(refused(
                KeysState::Lost,
                format!("another program has replaced the keys of the device {id}; {AGAIN}"),
            ));
        }
        (Some(_), None) if account.is_some_and(|account| account.shared()) => {
            return Err(refused(
                KeysState::Lost,
                format!("the homeserver has forgotten the keys of the device {id}; {AGAIN}"),
            ));
        }
        _ => {}
    }
    epoch_at_homeserver(homeserver, found).await
}

/// The account's data contain the epoch under which the keys were last taken: a database with an earlier epoch was set back.
async fn epoch_at_homeserver(homeserver: &Homeserver, found: &KeysFound) -> Result<(), CryptoError> {
    // Another database may use the account with its own device.
    let name = format!("org.odoo.crypto.{}", found.device);
    let last = homeserver.account_data(&found.account, &name).await?;
    let last = last.and_then(|content| content.get("epoch")?.as_i64()).unwrap_or_default();
    if last >= found.taken.epoch {
        let reason = format!(
            "the keys of the device {} were taken {last} times and by this database only {}: it was restored, or is a copy; {AGAIN}",
            found.device, found.taken.epoch
        );
        return Err(refused(KeysState::Moved, reason));
    }
    Ok(homeserver.set_account_data(&found.account, &name, &json!({ "epoch": found.taken.epoch })).await?)
}
