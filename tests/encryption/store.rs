//! The keys of a device in PostgreSQL: sealed, fenced, and never used in another database or after a restore.

use matrix_sdk_crypto::{
    CryptoStoreError, OlmMachine,
    store::{CryptoStore as _, types::Changes},
};
use odoo_matrix_worker::{
    crypto::{KeyStore, KeysError},
    message::UserId,
    seal::Keys,
};
use ruma::{OwnedDeviceId, OwnedUserId, room_id};

use crate::account::{Account, BOT, DEVICE};

fn me() -> (OwnedUserId, OwnedDeviceId) {
    (OwnedUserId::try_from(BOT).unwrap(), OwnedDeviceId::from(DEVICE))
}

async fn machine(store: KeyStore) -> Result<OlmMachine, CryptoStoreError> {
    let (user, device) = me();
    OlmMachine::with_store(&user, &device, store, None).await
}

fn since(token: &str) -> Changes {
    Changes { next_batch_token: Some(token.to_owned()), ..Changes::default() }
}

fn fenced(error: &CryptoStoreError) -> bool {
    let CryptoStoreError::Backend(error) = error else { return false };
    matches!(error.downcast_ref(), Some(KeysError::Fenced))
}

#[tokio::test]
async fn the_next_worker_goes_on_with_the_same_device_and_the_former_one_is_fenced_off() {
    let account = Account::new().await;
    let first = machine(account.open("w1").await).await.unwrap();
    first.bootstrap_cross_signing(false).await.unwrap();
    first.update_tracked_users([me().0.as_ref()]).await.unwrap();
    first.store().save_changes(since("s1")).await.unwrap();
    first.store().set_value("colour", &"blue").await.unwrap();

    let second = machine(account.open("w2").await).await.unwrap();

    assert_eq!(second.identity_keys(), first.identity_keys());
    assert!(second.cross_signing_status().await.is_complete());
    assert_eq!(second.store().next_batch_token().await.unwrap().as_deref(), Some("s1"));
    assert_eq!(second.store().get_value::<String>("colour").await.unwrap().as_deref(), Some("blue"));
    assert!(second.tracked_users().await.unwrap().contains(&me().0));

    let refused = first.store().save_changes(since("s2")).await.unwrap_err();
    assert!(fenced(&refused), "{refused:?}");
    let refused = first.update_tracked_users([me().0.as_ref(), ruma::user_id!("@anna:x")]).await.unwrap_err();
    assert!(fenced(&refused), "{refused:?}");
    // What is in memory is kept when something else is saved.
    second.store().save_changes(since("s3")).await.unwrap();
    assert!(second.cross_signing_status().await.is_complete());
    let third = machine(account.open("w3").await).await.unwrap();
    assert_eq!(third.store().next_batch_token().await.unwrap().as_deref(), Some("s3"));
    assert!(third.cross_signing_status().await.is_complete());
}

#[tokio::test]
async fn keys_to_write_with_in_rooms_are_never_stored_and_everything_else_is_sealed() {
    let account = Account::new().await;
    let bot = machine(account.open("w1").await).await.unwrap();
    let room = room_id!("!case:double.test");
    bot.share_room_key(room, std::iter::empty(), matrix_sdk_crypto::EncryptionSettings::default()).await.unwrap();
    let session = bot.store().get_inbound_group_sessions().await.unwrap().remove(0);

    let again = machine(account.open("w2").await).await.unwrap();

    assert!(again.store().get_inbound_group_sessions().await.unwrap().is_empty());
    let rows = account.world.client.query("SELECT kind, key, sealed FROM matrix_crypto_item", &[]).await.unwrap();
    assert!(rows.len() >= 2, "the account and its device");
    for row in &rows {
        let (kind, key, sealed): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        assert!(sealed.starts_with("fernet:") && key.len() == 64, "{kind} {key}");
        let text = format!("{kind} {key} {sealed}");
        assert!(!text.contains(BOT) && !text.contains(room.as_str()) && !text.contains(session.session_id()));
    }
}

#[tokio::test]
async fn keys_that_cannot_be_opened_or_were_moved_about_are_refused_by_name() {
    let account = Account::new().await;
    let bot = machine(account.open("w1").await).await.unwrap();
    bot.store().save_changes(since("s1")).await.unwrap();
    let client = &account.world.client;
    let opened = async |keys: &Keys| {
        let store = account.store("w2");
        let found = account.take(&store).await;
        KeyStore::open(store, keys.clone(), found.taken).await
    };

    let other = Keys::parse(&fernet::Fernet::generate_key()).unwrap();
    let error = opened(&other).await.unwrap_err().to_string();
    assert!(error.contains("matrix_token_key"), "{error}");

    // Somebody who can write to the table cannot exchange one item for another.
    client.batch_execute("UPDATE matrix_crypto_item SET kind = 'identity' WHERE kind = 'account'").await.unwrap();
    let error = opened(&account.keys).await.unwrap_err().to_string();
    assert!(error.contains("identity") && error.contains("belongs elsewhere"), "{error}");

    client.batch_execute("DELETE FROM matrix_crypto_item WHERE kind = 'identity'").await.unwrap();
    let error = opened(&account.keys).await.unwrap_err();
    assert!(matches!(error, KeysError::Lost), "{error}");

    // Without a key nothing is written.
    client.batch_execute("DELETE FROM matrix_crypto_item").await.unwrap();
    let store = opened(&Keys::parse("").unwrap()).await.unwrap();
    assert!(machine(store).await.is_err());
    let rows = client.query("SELECT FROM matrix_crypto_item", &[]).await.unwrap();
    assert_eq!(rows.len(), 0);
}

#[tokio::test]
async fn only_who_follows_the_account_takes_its_keys() {
    let account = Account::new().await;
    let (first, second) = (account.store("w1"), account.store("w2"));
    let late = account.follow(&first).await;
    let following = account.follow(&second).await;
    let bot = UserId::parse(BOT).unwrap();

    assert_eq!(first.take_keys(&late, &bot, DEVICE).await.unwrap(), None);
    let found = second.take_keys(&following, &bot, DEVICE).await.unwrap().unwrap();
    assert_eq!((found.taken.epoch, found.doubt), (1, None));
    let other = second.take_keys(&following, &bot, "ELEMENT").await.unwrap().unwrap();
    assert_eq!((other.taken.epoch, &*other.device), (2, DEVICE), "they are still the keys of the device before");
}

#[tokio::test]
async fn names_of_any_length_with_any_sign_are_kept() {
    let account = Account::new().await;
    let name = format!("x\0\u{1f}{}", "y".repeat(9000));
    let store = account.open("w1").await;

    store.set_custom_value(&name, vec![0, 255]).await.unwrap();
    machine(store).await.unwrap();

    let again = account.open("w2").await;
    assert_eq!(again.get_custom_value(&name).await.unwrap(), Some(vec![0, 255]));
    again.remove_custom_value(&name).await.unwrap();
    assert_eq!(account.open("w3").await.get_custom_value(&name).await.unwrap(), None);
}

#[tokio::test]
async fn a_restored_dump_and_a_copied_database_are_noticed_and_stay_so() {
    let account = Account::new().await;
    machine(account.open("w1").await).await.unwrap();
    let client = &account.world.client;
    let doubt = async || account.take(&account.store("w2")).await.doubt;
    assert_eq!(doubt().await, None);
    for vacuum in ["VACUUM FREEZE matrix_crypto", "VACUUM FULL matrix_crypto"] {
        client.batch_execute(vacuum).await.unwrap();
    }
    assert_eq!(doubt().await, None, "a change by an administrator is not a restored backup");

    // The same as pg_restore --clean.
    client
        .batch_execute(
            "CREATE TEMPORARY TABLE dump AS SELECT * FROM matrix_crypto; DELETE FROM matrix_crypto;
            INSERT INTO matrix_crypto SELECT * FROM dump",
        )
        .await
        .unwrap();
    for _ in 0..2 {
        let doubt = doubt().await.unwrap();
        assert!(doubt.contains("restored from a dump"), "{doubt}");
    }
    let state: String = client.query_one("SELECT state FROM matrix_crypto", &[]).await.unwrap().get(0);
    assert_eq!(state, "moved");

    client
        .batch_execute("UPDATE matrix_crypto SET state = 'ok', timeline_id = 7, written_by = txid_current()")
        .await
        .unwrap();
    assert!(doubt().await.unwrap().contains("standby"));

    let sql = "UPDATE matrix_crypto SET state = 'ok', database_identity = 'elsewhere', written_by = txid_current()";
    client.batch_execute(sql).await.unwrap();
    assert!(doubt().await.unwrap().contains("a copy"));
}

/// The crypto machine stores the device first, and its keys in a later statement.
#[tokio::test]
async fn a_worker_that_died_while_it_made_the_keys_is_followed_by_one_that_makes_others() {
    let account = Account::new().await;
    machine(account.open("w1").await).await.unwrap();
    account.world.client.batch_execute("DELETE FROM matrix_crypto_item WHERE kind <> 'device'").await.unwrap();

    let made = machine(account.open("w2").await).await.unwrap();

    let again = machine(account.open("w3").await).await.unwrap();
    assert_eq!(again.identity_keys(), made.identity_keys());
    let own = again.get_device(&me().0, &me().1, None).await.unwrap().unwrap();
    assert_eq!(own.ed25519_key(), Some(made.identity_keys().ed25519));
}

/// Odoo makes a new device and asks for it in one transaction, while an earlier request waits. A worker that follows with the configuration from
/// before must not take the new request for it.
#[tokio::test]
async fn a_request_that_replaces_another_one_is_left_to_the_worker_that_reads_its_configuration() {
    let account = Account::new().await;
    let (store, client) = (account.store("w1"), &account.world.client);
    client
        .batch_execute(
            "INSERT INTO matrix_crypto_request (backend_id, kind) SELECT id, 'new_device' FROM matrix_backend",
        )
        .await
        .unwrap();
    let following = account.follow(&store).await;
    let asked = store.setup_asked(&following).await.unwrap().unwrap();
    let found = store.take_keys(&following, &UserId::parse(BOT).unwrap(), DEVICE).await.unwrap().unwrap();
    let odoo = account.world.database.connect().await.unwrap();
    odoo.batch_execute(
        "BEGIN;
         UPDATE matrix_backend SET token_sealed = 'plain:of another device';
         INSERT INTO matrix_crypto_request (backend_id, kind) SELECT id, 'new_device' FROM matrix_backend
         ON CONFLICT (backend_id) DO UPDATE SET kind = excluded.kind, requested_at = excluded.requested_at",
    )
    .await
    .unwrap();
    let commit = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
            AND query LIKE '%DELETE FROM matrix_crypto_request%' AND pid <> pg_backend_pid())";
        account.world.until(waits).await;
        odoo.batch_execute("COMMIT").await.unwrap();
    };

    let (taken, ()) = tokio::join!(store.take_setup_request(found.taken, asked), commit);

    assert!(taken.unwrap().is_none(), "its device is another one");
    let following = account.follow(&store).await;
    let asked = store.setup_asked(&following).await.unwrap().unwrap();
    let found = store.take_keys(&following, &UserId::parse(BOT).unwrap(), DEVICE).await.unwrap().unwrap();
    assert_eq!(store.take_setup_request(found.taken, asked).await.unwrap().unwrap().kind, "new_device");
}
