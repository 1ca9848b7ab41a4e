//! What somebody asks for in Odoo: sign the device, with a recovery key or a password, or start again with a new device.

use fernet::Fernet;
use matrix_sdk_crypto::secret_storage::SecretStorageKey;
use odoo_matrix_worker::{crypto::CryptoError, seal::Keys, store::Store};
use ruma::events::secret::request::SecretName;
use serde_json::{Value, json};
use stack::synapse::{Options, Synapse, User};

use crate::{
    account::Account,
    people::{Bot, Reader, homeserver},
};

async fn start() -> (Account, Synapse, User, Store) {
    let synapse = Synapse::start(Options { unlimited: true, ..Options::default() }).await.unwrap();
    let user = synapse.register("odoo", "let me in", false).await.unwrap();
    let account = Account::new().await;
    let store = account.store("w1");
    (account, synapse, user, store)
}

/// Asks in Odoo, and lets a worker open the device of `user`.
pub(crate) async fn ask(
    account: &Account,
    store: &Store,
    synapse: &Synapse,
    user: &User,
    kind: &str,
    secret: Option<&str>,
) -> Result<Bot, CryptoError> {
    let sealed = secret.map(|secret| account.keys.seal(secret.as_bytes()).unwrap());
    let sql = "INSERT INTO matrix_crypto_request (backend_id, kind, secret_sealed) VALUES ($1, $2, $3)";
    account.world.client.execute(sql, &[&account.world.backend, &kind, &sealed]).await.unwrap();
    let following = account.follow(store).await;
    let opened = Bot::open(account, store, &following, synapse, user).await;
    let left = account.world.client.query_one("SELECT count(*) FROM matrix_crypto_request", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 0, "the secret is gone, whatever came of it");
    opened
}

/// State of the set-up and its reason, signature and its reason.
pub(crate) async fn seen(account: &Account) -> [Option<String>; 4] {
    let sql = "SELECT setup_state, setup_reason, signature, signature_reason FROM matrix_crypto";
    let row = account.world.client.query_one(sql, &[]).await.unwrap();
    std::array::from_fn(|column| row.get(column))
}

pub(crate) async fn master(synapse: &Synapse, user: &User) -> Value {
    let answer = homeserver(synapse, user).query_keys([user.id()]).await.unwrap();
    answer["master_keys"][user.id()]["keys"].clone()
}

/// Puts the signing keys of `owner` on the homeserver as clients do, and returns the recovery key that opens them.
pub(crate) async fn store_secrets(synapse: &Synapse, user: &User, owner: &Reader) -> String {
    let key = SecretStorageKey::new();
    let me = odoo_matrix_worker::message::UserId::parse(user.id()).unwrap();
    let to = homeserver(synapse, user);
    let set = async |name: &str, content: &Value| to.set_account_data(&me, name, content).await.unwrap();
    set("m.secret_storage.default_key", &json!({ "key": key.key_id() })).await;
    let content = serde_json::to_value(key.event_content()).unwrap();
    set(&format!("m.secret_storage.key.{}", key.key_id()), &content).await;
    let keys = owner.signing_keys().await;
    for (name, seed) in [
        (SecretName::CrossSigningMasterKey, keys.master_key.clone()),
        (SecretName::CrossSigningSelfSigningKey, keys.self_signing_key.clone()),
        (SecretName::CrossSigningUserSigningKey, keys.user_signing_key.clone()),
    ] {
        let sealed = serde_json::to_value(key.encrypt(seed.unwrap().as_bytes().to_vec(), &name)).unwrap();
        set(name.as_str(), &json!({ "encrypted": { key.key_id(): sealed } })).await;
    }
    key.to_base58()
}

#[tokio::test]
async fn the_accounts_own_signing_keys_sign_the_device_once_their_recovery_key_is_entered() {
    let (account, synapse, user, store) = start().await;
    let element = Reader::new(&synapse, &synapse.log_in(&user, "let me in").await.unwrap()).await;
    element.make_signing_keys().await;
    let recovery_key = store_secrets(&synapse, &user, &element).await;
    let before = master(&synapse, &user).await;
    let open = async |kind, secret| ask(&account, &store, &synapse, &user, kind, secret).await.unwrap();

    open("new_device", None).await;
    let [state, reason, signature, why] = seen(&account).await;
    assert_eq!((state.as_deref(), signature.as_deref()), (Some("failed"), Some("missing")));
    assert!(reason == why && reason.as_ref().unwrap().contains("enter their recovery key"), "{reason:?}");

    open("recovery_key", Some("EsTc wrong")).await;
    let [state, reason, ..] = seen(&account).await;
    assert!(
        state.as_deref() == Some("failed") && reason.as_ref().unwrap().contains("not the recovery key"),
        "{reason:?}"
    );

    open("recovery_key", Some(&format!(" {recovery_key}\n"))).await;
    assert_eq!(seen(&account).await, [Some("done".to_owned()), None, Some("signed".to_owned()), None]);
    assert!(
        before.is_object() && master(&synapse, &user).await == before,
        "the account's signing keys are as they were"
    );

    // A request that nobody took in time is not carried out.
    let late = "INSERT INTO matrix_crypto_request (backend_id, kind, secret_sealed, requested_at)
        SELECT id, 'reset', $1, now() AT TIME ZONE 'UTC' - interval '16 minutes' FROM matrix_backend";
    let sealed = account.keys.seal(b"let me in").unwrap();
    account.world.client.execute(late, &[&sealed]).await.unwrap();
    let following = account.follow(&store).await;
    Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();
    let [state, reason, signature, _] = seen(&account).await;
    assert_eq!((state.as_deref(), signature.as_deref()), (Some("failed"), Some("signed")));
    assert!(reason.unwrap().contains("older than 15 minutes"));
}

#[tokio::test]
async fn signing_keys_are_replaced_with_the_right_password_only_and_only_if_that_is_asked_for() {
    let (account, synapse, user, store) = start().await;
    let element = Reader::new(&synapse, &synapse.log_in(&user, "let me in").await.unwrap()).await;
    element.make_signing_keys().await;
    let before = master(&synapse, &user).await;
    let open = async |kind, secret| ask(&account, &store, &synapse, &user, kind, secret).await.unwrap();

    for (kind, secret, text) in [
        ("password", "let me in", "enter their recovery key"),
        ("reset", "wrong", "did not accept the password"),
        ("recovery_key", "EsTc", "no signing keys that a recovery key could open"),
    ] {
        open(kind, Some(secret)).await;
        let [state, reason, ..] = seen(&account).await;
        assert!(state.as_deref() == Some("failed") && reason.as_ref().unwrap().contains(text), "{kind}: {reason:?}");
        assert_eq!(master(&synapse, &user).await, before, "{kind}");
    }

    open("reset", Some("let me in")).await;
    assert_eq!(seen(&account).await, [Some("done".to_owned()), None, Some("signed".to_owned()), None]);
    assert_ne!(master(&synapse, &user).await, before);
}

#[tokio::test]
async fn a_new_device_continues_with_the_accounts_signing_keys_after_the_old_one_was_lost() {
    let (account, synapse, user, store) = start().await;
    let following = account.follow(&store).await;
    let first = Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();
    let before = master(&synapse, &user).await;
    let client = &account.world.client;
    client
        .batch_execute("UPDATE matrix_crypto SET state = 'moved', reason = 'a copy', written_by = txid_current()")
        .await
        .unwrap();
    let refused = ask(&account, &store, &synapse, &user, "new_device", None).await.map(drop);
    assert!(matches!(refused, Err(CryptoError::Refused { .. })), "the same device is not used again");
    assert_eq!(seen(&account).await[0].as_deref(), Some("failed"));

    // Logged in again, but the token is of another client.
    let element = synapse.log_in(&user, "let me in").await.unwrap();
    Reader::new(&synapse, &element).await;
    let refused = ask(&account, &store, &synapse, &element, "new_device", None).await.map(drop);
    let Err(CryptoError::Refused { reason, .. }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("another client's"), "{reason}");

    let again = synapse.log_in(&user, "let me in").await.unwrap();
    let second = ask(&account, &store, &synapse, &again, "new_device", None).await.unwrap();
    assert_eq!(seen(&account).await, [Some("done".to_owned()), None, Some("signed".to_owned()), None]);
    assert_ne!(second.device.fingerprint(), first.device.fingerprint());
    assert_eq!(master(&synapse, &user).await, before, "the account's signing keys are as they were");
    let row = client.query_one("SELECT state, device_id, fingerprint FROM matrix_crypto", &[]).await.unwrap();
    let row: (String, String, String) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(row, ("ok".to_owned(), again.device_id().to_owned(), second.device.fingerprint()));
}

/// Odoo asks for a new device and stores its token at the same time; a worker that has read the configuration before still has the former device.
#[tokio::test]
async fn a_request_is_carried_out_only_by_a_worker_that_has_read_the_configuration_that_came_with_it() {
    let (account, synapse, user, store) = start().await;
    let following = account.follow(&store).await;
    let first = Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();
    let again = synapse.log_in(&user, "let me in").await.unwrap();
    let asked = "WITH asked AS (INSERT INTO matrix_crypto_request (backend_id, kind) SELECT id, 'new_device' FROM matrix_backend)
        UPDATE matrix_backend SET token_sealed = $1";
    let sealed = account.keys.seal(again.token().as_bytes()).unwrap();
    account.world.client.execute(asked, &[&sealed]).await.unwrap();

    let same = Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();

    assert_eq!(same.device.fingerprint(), first.device.fingerprint());
    assert_eq!(seen(&account).await[0], None, "the request waits");
    let following = account.follow(&store).await;
    let second = Bot::open(&account, &store, &following, &synapse, &again).await.unwrap();
    assert_eq!(seen(&account).await, [Some("done".to_owned()), None, Some("signed".to_owned()), None]);
    assert_ne!(second.device.fingerprint(), first.device.fingerprint());
}

/// What only another key opens is reported, and is gone.
#[tokio::test]
async fn a_secret_that_the_worker_cannot_open_is_reported() {
    let (account, synapse, user, store) = start().await;
    let sealed = Keys::parse(&Fernet::generate_key()).unwrap().seal(b"let me in").unwrap();
    let sql = "INSERT INTO matrix_crypto_request (backend_id, kind, secret_sealed) SELECT id, 'password', $1 FROM matrix_backend";
    account.world.client.execute(sql, &[&sealed]).await.unwrap();
    let following = account.follow(&store).await;

    Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();

    let [state, reason, signature, _] = seen(&account).await;
    assert_eq!((state.as_deref(), signature.as_deref()), (Some("failed"), Some("signed")));
    assert!(reason.unwrap().contains("matrix_token_key"));
    for plain in ["plain:let me in", "let me in"] {
        let refused = account.world.client.execute(sql, &[&plain]).await;
        assert!(refused.is_err(), "the table takes sealed secrets only");
    }
}
