//! Messages are sent through the application service, with its token; whatever else needs a token uses the account's own.

use std::time::Duration;

use hmac::{Hmac, Mac as _};
use odoo_matrix_worker::{
    matrix::{self, Acting},
    store::{newest, schema},
};
use serde_json::json;
use sha2::Sha256;
use stack::{
    homeserver::{BOT, Homeserver, SERVICE_TOKEN, TOKEN},
    postgres::shared,
    webhook::Webhook,
    world::World,
};

use crate::{
    BINARY,
    follower::{followed, say},
};

const ROOM: &str = "!case:double.test";

const SWITCH: &str =
    "UPDATE matrix_backend SET appservice_user_id = $1, appservice_device_id = 'SERVICE', appservice_token_sealed = $2";

async fn switch(world: &World) {
    world.client.execute(SWITCH, &[&BOT, &format!("plain:{SERVICE_TOKEN}")]).await.unwrap();
}

/// For each message that was sent, whether the application service sent it.
fn of_service(world: &World) -> Vec<bool> {
    world
        .homeserver
        .requests()
        .iter()
        .filter(|request| request.is_send())
        .map(|request| request.is_of_service)
        .collect()
}

async fn drain(world: &World) {
    let drained = world.command(&["drain"]).await;
    assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
}

#[tokio::test]
async fn a_running_worker_notices_at_once_through_what_it_is_to_send() {
    let world = World::new(BINARY).await;
    let _worker = world.worker("w1");
    let mut ids = vec![world.enqueue(ROOM, "with the access token").await];
    world.assert_settled(&ids).await;
    let before = "SELECT config_version, configured_at FROM matrix_backend";
    let before = world.client.query_one(before, &[]).await.unwrap();

    switch(&world).await;
    ids.push(world.enqueue(ROOM, "through the application service").await);

    world.assert_settled(&ids).await;
    assert_eq!(of_service(&world), [false, true]);
    let (version, at): (i32, Option<std::time::SystemTime>) = (before.get(0), before.get(1));
    let is_noted = "SELECT config_version > $1 AND configured_at IS DISTINCT FROM $2 FROM matrix_backend";
    assert!(world.client.query_one(is_noted, &[&version, &at]).await.unwrap().get::<_, bool>(0));
}

/// Whether the application service has read the account last.
fn reads_as_service(homeserver: &Homeserver) -> Option<bool> {
    let requests = homeserver.requests();
    requests.iter().rev().find(|request| request.path == ["sync"]).map(|request| request.is_of_service)
}

/// Only the device that messages are sent as hears what others have for it.
#[tokio::test]
async fn the_account_is_read_through_it_too_and_nothing_is_missing_after_a_switch() {
    let (world, webhook) = followed().await;
    let _worker = world.worker("w1");
    world.until_followed().await;
    let reads_as = async |is_service| {
        let what = format!("a reading with is_of_service = {is_service}");
        world.homeserver.until(&what, |homeserver| reads_as_service(homeserver) == Some(is_service)).await;
    };
    let heard = async |numbers: std::ops::RangeInclusive<usize>| {
        let count = *numbers.end();
        say(&world, ROOM, "text", numbers);
        webhook.until_events(count).await;
    };
    heard(1..=2).await;
    reads_as(false).await;

    switch(&world).await;
    heard(3..=4).await;
    reads_as(true).await;
    heard(5..=6).await;
    let back = "UPDATE matrix_backend SET appservice_user_id = NULL, appservice_device_id = NULL";
    world.client.batch_execute(back).await.unwrap();
    heard(7..=8).await;
    reads_as(false).await;

    heard(9..=10).await;
    let wanted: Vec<_> = (1..=10).map(|number| format!("text {number}")).collect();
    assert_eq!(webhook.bodies(ROOM), wanted);
}

/// Odoo and workers of every release have that token.
#[tokio::test]
async fn a_file_is_asked_for_with_the_accounts_own_token() {
    let world = World::new(BINARY).await;
    let odoo = Webhook::start().await.unwrap();
    world.client.execute("UPDATE matrix_backend SET files_url = $1", &[&odoo.files_url()]).await.unwrap();
    switch(&world).await;
    odoo.give("a.pdf", b"%PDF");
    let content = json!({ "msgtype": "m.text", "body": "a.pdf", "info": { "size": 4 } });
    let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id, attachment_id)
        VALUES ($1, 'chatter', $2, $3, 'a.pdf', 7) RETURNING id";
    let id = world.client.query_one(sql, &[&world.backend, &ROOM, &content]).await.unwrap().get(0);

    drain(&world).await;

    world.assert_settled(&[id]).await;
    assert_eq!((of_service(&world), world.homeserver.files()), (vec![true], vec![b"%PDF".to_vec()]));
    let proof = odoo.proof().unwrap();
    let (until, signature) = proof.split_once('.').unwrap();
    let mut code = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).unwrap();
    code.update(format!("org.odoo.file {} a.pdf {until}", world.backend).as_bytes());
    let right: String = code.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signature, right);
}

/// The statements by which workers of earlier contracts read the configuration, unchanged. Up to 11 they did not know of application
/// services; in 12 `token_sealed` was the token of the application service.
const EARLIER: [(&str, &str); 2] =
    [("11", include_str!("earlier/backends_11.sql")), ("12", include_str!("earlier/backends_12.sql"))];

/// It would else send as the account of the application service, which is in no room.
#[tokio::test]
async fn a_worker_of_an_earlier_contract_sends_with_the_accounts_own_token() {
    let world = World::new(BINARY).await;
    switch(&world).await;

    for (contract, sql) in EARLIER {
        let row = world.client.query_one(sql, &[]).await.unwrap();
        let token = row.get::<_, String>("token_sealed").replace("plain:", "");
        let url: String = row.get("homeserver_url");
        let mut asked = matrix::Homeserver::new(&url, token.clone().into(), true, Duration::from_secs(10)).unwrap();
        if contract == "12" {
            // It names an account and a device in each request, and the homeserver goes by the token.
            let (user, device) = (row.get("acting_user"), row.get("acting_device"));
            asked = asked.acting(Acting { token: token.into(), user, device }).unwrap();
        }
        let whoami = asked.whoami().await.unwrap();

        assert_eq!((whoami.user_id.as_str(), whoami.device_id.as_deref()), (BOT, Some("DOUBLE")), "{contract}");
        assert!(!world.homeserver.requests().pop().unwrap().is_of_service, "{contract}");
    }
}

/// With contract 12 the token of the application service took the place of the account's own.
#[tokio::test]
async fn a_backend_that_sent_through_it_before_the_upgrade_still_does() {
    let world = World::with_schema(shared().await, BINARY, &schema(12)).await;
    let switched = format!(
        "ALTER TABLE matrix_backend ADD COLUMN own_token_sealed varchar;
        UPDATE matrix_backend SET token_sealed = 'plain:{SERVICE_TOKEN}', own_token_sealed = 'plain:{TOKEN}',
            appservice_user_id = '{BOT}', appservice_device_id = 'SERVICE'"
    );
    world.client.batch_execute(&switched).await.unwrap();
    let mut ids = vec![world.enqueue(ROOM, "before").await];
    drain(&world).await;
    let webhook = Webhook::start().await.unwrap();
    world.follow(&webhook).await;
    let worker = world.worker("w1");
    world.until_followed().await;
    assert_eq!(reads_as_service(&world.homeserver), Some(true));
    drop(worker);

    // Twice, as over a dump that was restored without its comments.
    world.client.batch_execute(&schema(newest())).await.unwrap();
    world.client.batch_execute("COMMENT ON TABLE matrix_outbox IS NULL").await.unwrap();
    world.client.batch_execute(&schema(newest())).await.unwrap();

    ids.push(world.enqueue(ROOM, "after").await);
    drain(&world).await;
    world.assert_settled(&ids).await;
    assert_eq!(of_service(&world), [true, true]);
    let tokens = "SELECT token_sealed, appservice_token_sealed FROM matrix_backend";
    let tokens = world.client.query_one(tokens, &[]).await.unwrap();
    assert_eq!((tokens.get(0), tokens.get(1)), (format!("plain:{TOKEN}"), format!("plain:{SERVICE_TOKEN}")));
}

#[tokio::test]
async fn a_backend_whose_own_token_was_lost_waits_for_another_one() {
    let world = World::with_schema(shared().await, BINARY, &schema(12)).await;
    let switched = format!(
        "UPDATE matrix_backend SET token_sealed = 'plain:{SERVICE_TOKEN}', appservice_user_id = '{BOT}',
            appservice_device_id = 'SERVICE'"
    );
    world.client.batch_execute(&switched).await.unwrap();
    world.client.batch_execute(&schema(newest())).await.unwrap();
    let id = world.enqueue(ROOM, "hello").await;
    let _worker = world.worker("w1");
    let stopped = "SELECT EXISTS (SELECT FROM matrix_backend_status
        WHERE state = 'misconfigured' AND reason LIKE '%has no access token; set one in Odoo%')";
    world.until(stopped).await;
    assert!(of_service(&world).is_empty());

    world.client.execute("UPDATE matrix_backend SET token_sealed = $1", &[&format!("plain:{TOKEN}")]).await.unwrap();

    world.assert_settled(&[id]).await;
    assert_eq!(of_service(&world), [false]);
}
