//! The application service's device encrypts: the homeserver asks for no password.

use std::time::Duration;

use odoo_matrix_worker::{
    crypto::Device,
    matrix::{Acting, Homeserver},
};
use serde_json::json;
use stack::{
    relay::Relay,
    synapse::{Options, Synapse, User},
    webhook::Webhook,
    world::{World, kill},
};

use crate::{
    BINARY,
    account::Account,
    delivery::{Office, all, is_plain_ok},
    people::{Reader, STRICT, assert_no_index_twice, homeserver},
    setup::{master, seen, store_secrets},
};

const TOKEN: &str = "service_secret";

/// As Odoo writes it, but the homeserver calls nobody.
const REGISTRATION: &str = r"
id: odoo
url: null
as_token: service_secret
hs_token: homeserver_secret
sender_localpart: odoo-service
rate_limited: false
io.element.msc4190: true
namespaces: {users: [{exclusive: false, regex: '^@odoo:matrix\.localhost$'}], rooms: [], aliases: []}
";

const REGISTERED: Options =
    Options { unlimited: true, encrypts_new_rooms: false, app_service: Some(REGISTRATION), neighbour: None };

async fn open() -> Office {
    Office::with(World::new(BINARY).await, REGISTERED).await
}

/// What Odoo does in one transaction: messages are sent as a new device, and the worker is asked to set it up.
async fn send_as(office: &Office, device: &str) {
    office.synapse.service_device(TOKEN, &office.bot, device, true).await.unwrap();
    let sql = "WITH asked AS (
            INSERT INTO matrix_crypto_request (backend_id, kind) SELECT id, 'new_device' FROM matrix_backend
        )
        UPDATE matrix_backend SET appservice_token_sealed = $1, appservice_user_id = $2, appservice_device_id = $3,
            encryption_mode = 'encrypt'";
    let sealed = office.seal(TOKEN);
    office.world.client.execute(sql, &[&sealed, &office.bot.id(), &device]).await.unwrap();
}

/// The device that the worker has set up, and its fingerprint.
async fn device(office: &Office) -> (String, String) {
    let ready = "SELECT EXISTS (SELECT FROM matrix_crypto WHERE state = 'ok' AND signature = 'signed' AND setup_state = 'done')";
    office.world.until(ready).await;
    let row = office.world.client.query_one("SELECT device_id, fingerprint FROM matrix_crypto", &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_strict_client_reads_it_and_its_answer_comes_back_also_after_a_kill() {
    let office = open().await;
    let anna = office.person("anna").await;
    let (room, open_room) = (office.encrypted_room(&[&anna]).await, office.room(&[&anna]).await);
    let mut reader = Reader::new(&office.synapse, &anna).await;
    reader.make_signing_keys().await;
    let odoo = Webhook::start().await.unwrap();
    office.world.follow(&odoo).await;
    let before =
        "UPDATE matrix_backend SET inbound_mode = 'appservice', encryption_mode = 'refuse', homeserver_url = $1";
    let relay = Relay::start(office.synapse.url()).await.unwrap();
    office.world.client.execute(before, &[&relay.url()]).await.unwrap();
    let worker = office.worker("w1");
    office.world.until_followed().await;
    anna.send(&open_room, "in clear").await.unwrap();

    send_as(&office, "ODOO1").await;
    let sent = office.deliver(&room, "one").await;

    assert!(is_plain_ok(&sent), "{sent:?}\n{}", office.world.worker_logs());
    assert_eq!(reader.read(&room, STRICT).await, all(&["one"]));
    let (id, fingerprint) = device(&office).await;
    let keys = homeserver(&office.synapse, &anna).query_keys([office.bot.id()]).await.unwrap();
    let keys = keys["device_keys"][office.bot.id()].as_object().unwrap();
    assert_eq!(keys.keys().collect::<Vec<_>>(), ["ODOO1"], "the access token's device has none");
    assert_eq!((id.as_str(), keys["ODOO1"]["keys"]["ed25519:ODOO1"].as_str()), ("ODOO1", Some(&*fingerprint)));
    let answer = reader.say(&room, &json!({ "msgtype": "m.text", "body": "answer" })).await;
    reader.give_keys(&answer).await;
    odoo.until_events(2).await;
    assert_eq!((odoo.bodies(&open_room), odoo.bodies(&room)), (vec!["in clear".to_owned()], vec!["answer".to_owned()]));
    let door = "PUT /mail_matrix/inbound/1/_matrix/app/v1/transactions/worker".to_owned();
    assert_eq!(odoo.paths().into_iter().collect::<Vec<_>>(), [door]);

    // The room has it, the answer is lost, and the worker dies before it hears of that.
    relay.lose("/send/m.room.encrypted/");
    let two = office.world.enqueue(&room, "two").await;
    while relay.left() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    kill(&worker).await;
    let _worker = office.worker("w2");
    office.until_logged(two).await;
    office.deliver(&room, "three").await;
    assert_eq!(reader.read(&room, STRICT).await, all(&["one", "answer", "two", "three"]));
    assert_no_index_twice(&anna, &room).await;
    assert_eq!(device(&office).await, (id, fingerprint));
}

#[tokio::test]
async fn a_switch_to_it_and_back_takes_another_device_that_the_same_account_has_signed() {
    let office = open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let _worker = office.worker("w1");
    office.deliver(&room, "0").await;
    let before = master(&office.synapse, &office.bot).await;
    let mut wanted = vec!["0".to_owned()];
    let mut enqueue = async || {
        let mut last = 0;
        for _ in 0..10 {
            wanted.push(wanted.len().to_string());
            last = office.world.enqueue(&room, wanted.last().unwrap()).await;
        }
        (last, wanted.iter().cloned().map(Ok).collect::<Vec<_>>())
    };

    // While messages are sent.
    enqueue().await;
    send_as(&office, "ODOO1").await;
    let (last, wanted) = enqueue().await;
    office.until_logged(last).await;
    assert_eq!(reader.read(&room, STRICT).await, wanted);
    let (id, fingerprint) = device(&office).await;
    assert_eq!(id, "ODOO1");

    enqueue().await;
    let again = office.synapse.log_in(&office.bot, "let me in").await.unwrap();
    let sql = "WITH asked AS (
            INSERT INTO matrix_crypto_request (backend_id, kind) SELECT id, 'new_device' FROM matrix_backend
        )
        UPDATE matrix_backend SET token_sealed = $1, appservice_user_id = NULL, appservice_device_id = NULL";
    office.world.client.execute(sql, &[&office.seal(again.token())]).await.unwrap();
    let (last, wanted) = enqueue().await;
    office.until_logged(last).await;
    assert_eq!(reader.read(&room, STRICT).await, wanted);

    assert_ne!(device(&office).await, (id, fingerprint));
    assert!(before.is_object() && master(&office.synapse, &office.bot).await == before, "the account's signing keys");
    assert_no_index_twice(&anna, &room).await;
}

#[tokio::test]
async fn a_device_that_was_removed_at_the_homeserver_is_lost_until_there_is_a_new_one() {
    let office = open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let relay = Relay::start(office.synapse.url()).await.unwrap();
    office.world.client.execute("UPDATE matrix_backend SET homeserver_url = $1", &[&relay.url()]).await.unwrap();
    send_as(&office, "ODOO1").await;
    let _worker = office.worker("w1");
    office.deliver(&room, "one").await;
    assert_eq!(reader.read(&room, STRICT).await, all(&["one"]));

    office.synapse.service_device(TOKEN, &office.bot, "ODOO1", false).await.unwrap();
    let two = office.world.enqueue(&room, "two").await;

    let lost = "SELECT EXISTS (SELECT FROM matrix_crypto WHERE state = 'lost' AND reason LIKE
        'the homeserver does not have the device ODOO1 of @odoo:matrix.localhost any more; set up encryption again')";
    office.world.until(lost).await;
    office.world.until("SELECT state = 'unauthorized' FROM matrix_backend_status").await;
    let checked = office.command(&["check"]).await;
    let (_, account) = checked.split_once("(M_UNKNOWN_DEVICE)").unwrap();
    assert!(account.trim_start().starts_with("fix: press «New Device» on the page Encryption"), "{checked}");

    // However often the worker tries again, that is stored and logged once.
    let times = async || {
        let row = office.world.client.query_one("SELECT epoch FROM matrix_crypto", &[]).await.unwrap();
        (row.get::<_, i64>(0), office.world.worker_logs().matches("Nothing is sent to encrypted rooms").count())
    };
    let before = times().await;
    assert_eq!(before.1, 1, "{}", office.world.worker_logs());
    let is_removed = "SELECT COALESCE(reason, '') LIKE '%(M_UNKNOWN_DEVICE)%' FROM matrix_follower";
    relay.answer_with("503 Service Unavailable", "/account/whoami", "{}");
    office.world.until(&is_removed.replace("LIKE", "NOT LIKE")).await;
    relay.heal();
    office.world.until(is_removed).await;
    assert_eq!(times().await, before);

    // Whoever asks to verify it gets the answer at once.
    let asked = "WITH asked AS (
            INSERT INTO matrix_crypto_request (backend_id, kind, secret_sealed) SELECT id, 'recovery_key', $1 FROM matrix_backend
        )
        UPDATE matrix_backend SET encryption_asked_at = clock_timestamp() AT TIME ZONE 'UTC'";
    office.world.client.execute(asked, &[&office.seal("EsTc")]).await.unwrap();
    office.world.until("SELECT NOT EXISTS (SELECT FROM matrix_crypto_request)").await;
    office
        .world
        .until("SELECT setup_state = 'failed' AND setup_reason = reason AND state = 'lost' FROM matrix_crypto")
        .await;

    // Under the same name it has no keys at the homeserver.
    office.synapse.service_device(TOKEN, &office.bot, "ODOO1", true).await.unwrap();
    let forgotten =
        "SELECT EXISTS (SELECT FROM matrix_crypto WHERE state = 'lost' AND reason LIKE '%has forgotten the keys%')";
    office.world.until(forgotten).await;
    send_as(&office, "ODOO2").await;
    office
        .world
        .until(&format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {two} AND status = 'ok')"))
        .await;
    assert_eq!(device(&office).await.0, "ODOO2");
    assert_eq!(reader.read(&room, STRICT).await.last(), all(&["two"]).last());
}

/// Through `url`, as the device of the application service.
fn acting(url: &str, user: &User) -> Homeserver {
    let token = || TOKEN.into();
    let acting = Acting { token: token(), user: user.id().to_owned(), device: "ODOO1".to_owned() };
    Homeserver::new(url, token(), true, Duration::from_secs(20)).unwrap().acting(acting).unwrap()
}

#[tokio::test]
async fn signing_keys_of_somebody_else_need_their_recovery_key_or_are_replaced_without_a_password() {
    let synapse = Synapse::start(REGISTERED).await.unwrap();
    let user = synapse.register("odoo", "let me in", false).await.unwrap();
    synapse.service_device(TOKEN, &user, "ODOO1", true).await.unwrap();
    let account = Account::new().await;
    let store = account.store("w1");
    let element = Reader::new(&synapse, &synapse.log_in(&user, "let me in").await.unwrap()).await;
    element.make_signing_keys().await;
    let recovery_key = store_secrets(&synapse, &user, &element).await;
    let before = master(&synapse, &user).await;
    let open = async |url: &str, kind: &str, secret: Option<&str>| {
        let sealed = secret.map(|secret| account.keys.seal(secret.as_bytes()).unwrap());
        let sql = "INSERT INTO matrix_crypto_request (backend_id, kind, secret_sealed) VALUES ($1, $2, $3)";
        account.world.client.execute(sql, &[&account.world.backend, &kind, &sealed]).await.unwrap();
        let following = account.follow(&store).await;
        Device::open(&store, &account.keys, &following, acting(url, &user), false).await.unwrap();
        seen(&account).await
    };
    let done = [Some("done".to_owned()), None, Some("signed".to_owned()), None];

    let [state, reason, ..] = open(synapse.url(), "new_device", None).await;
    assert_eq!(state.as_deref(), Some("failed"));
    assert!(reason.as_ref().unwrap().ends_with("enter their recovery key, or replace them"), "{reason:?}");

    // No homeserver should ask, but one may.
    let relay = Relay::start(synapse.url()).await.unwrap();
    let asks = json!({ "session": "x", "flows": [{ "stages": ["m.login.password"] }], "params": {} });
    relay.answer_with("401 Unauthorized", "/keys/device_signing/upload", &asks.to_string());
    let [state, reason, ..] = open(&relay.url(), "reset", None).await;
    assert_eq!(state.as_deref(), Some("failed"));
    assert!(reason.as_ref().unwrap().contains("also from the application service, which has none"), "{reason:?}");
    assert_eq!(master(&synapse, &user).await, before);

    assert_eq!(open(synapse.url(), "recovery_key", Some(&recovery_key)).await, done);
    assert!(before.is_object() && master(&synapse, &user).await == before);

    element.replace_signing_keys("let me in").await;
    let replaced = master(&synapse, &user).await;
    assert_eq!(open(synapse.url(), "reset", None).await, done);
    assert!(master(&synapse, &user).await != replaced && replaced != before);
}
