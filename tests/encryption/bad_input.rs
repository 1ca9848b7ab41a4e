//! What others do to the account's device: take all of its keys, write too much to it, log it out, or have a homeserver that does not answer.

use std::time::Duration;

use odoo_matrix_worker::{
    crypto::Decrypted,
    matrix::{DeviceNews, Homeserver},
};
use serde_json::{Value, json};
use stack::synapse::{Options, Synapse, User};
use tokio::net::TcpListener;

use crate::{
    account::Account,
    delivery::{Office, all},
    people::{Bot, Reader, STRICT, assert_no_index_twice, homeserver, send_encrypted},
};

/// The device of the worker in an encrypted room of Anna, and somebody else on its homeserver.
struct Exposed {
    account: Account,
    synapse: Synapse,
    user: User,
    bot: Bot,
    anna: Reader,
    room: String,
    other: Homeserver,
}

impl Exposed {
    async fn new() -> Self {
        let synapse = Synapse::start(Options { unlimited: true, ..Options::default() }).await.unwrap();
        let user = synapse.register("odoo", "let me in", false).await.unwrap();
        let (anna, mallory) = (
            synapse.register("anna", "in", false).await.unwrap(),
            synapse.register("mallory", "in", false).await.unwrap(),
        );
        let room = anna.create_room("Case", &[&user]).await.unwrap();
        anna.encrypt(&room).await.unwrap();
        user.join(&room).await.unwrap();
        let account = Account::new().await;
        let store = account.store("w1");
        let following = account.follow(&store).await;
        let bot = Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();
        let (anna, other) = (Reader::new(&synapse, &anna).await, homeserver(&synapse, &mallory));
        Self { account, synapse, user, bot, anna, room, other }
    }

    fn to_the_device(&self, what: Value) -> Value {
        json!({ self.user.id(): { self.user.device_id(): what } })
    }

    /// Takes one of the device's keys; false if only the one is left that everybody gets.
    async fn takes_a_key(&self) -> bool {
        let answer = self.other.claim_keys(&self.to_the_device(json!("signed_curve25519"))).await.unwrap();
        let keys = answer["one_time_keys"][self.user.id()][self.user.device_id()].as_object().unwrap();
        keys.values().next().unwrap()["fallback"] != true
    }
}

#[tokio::test]
async fn whose_keys_are_used_up_can_still_be_written_to_and_makes_others() {
    let mut exposed = Exposed::new().await;
    let mut taken = 0;
    while exposed.takes_a_key().await {
        taken += 1;
        assert!(taken < 1000, "the device has keys without an end");
    }

    let (requests, event) = exposed.anna.encrypt(&exposed.room, &json!({ "msgtype": "m.text", "body": "hello" })).await;
    exposed.anna.give_keys(&requests).await;
    send_encrypted(&homeserver(&exposed.synapse, &exposed.anna.user), &exposed.room, event).await;
    exposed.bot.hear().await.unwrap();

    let event = exposed.anna.user.timeline(&exposed.room).await.unwrap().pop().unwrap();
    let event = json!({
        "type": event.kind, "event_id": event.event_id, "sender": event.sender, "origin_server_ts": 1, "content": event.content,
        "room_id": exposed.room,
    });
    let read = exposed.bot.device.decrypt(&event).await.unwrap();
    assert!(matches!(&read, Decrypted::Event { content, .. } if content["body"] == "hello"), "{read:?}");
    assert!(exposed.takes_a_key().await, "the device has made no new keys");
}

#[tokio::test]
async fn messages_of_a_megabyte_to_the_device_are_neither_kept_nor_in_the_way() {
    let mut exposed = Exposed::new().await;
    let long = "A".repeat(1 << 20);
    let olm = json!({ "algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": long, "ciphertext": { long.clone(): { "type": 0, "body": long } } });
    let key =
        json!({ "algorithm": "m.megolm.v1.aes-sha2", "room_id": exposed.room, "session_id": "x", "session_key": long });
    let event = |(kind, content)| json!({ "type": kind, "sender": exposed.anna.user.id(), "content": content });
    let events = [("m.room.encrypted", olm), ("m.room_key", key), ("org.example", json!({ "text": long }))].map(event);

    // Synapse itself passes on at most 64 KiB.
    exposed
        .bot
        .device
        .hear(&DeviceNews { events: events.to_vec().into(), ..DeviceNews::default() }, "s1")
        .await
        .unwrap();

    exposed.bot.write(&exposed.room, "one", "t1").await.unwrap();
    assert_eq!(exposed.anna.read(&exposed.room, STRICT).await, all(&["one"]));
    let largest = "SELECT max(length(sealed)) FROM matrix_crypto_item";
    let largest: i32 = exposed.account.world.client.query_one(largest, &[]).await.unwrap().get(0);
    assert!(largest < 100_000, "{largest} characters are kept");
}

#[tokio::test]
async fn a_homeserver_of_others_that_is_silent_does_not_take_the_time_of_a_call() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let name = silent.local_addr().unwrap().to_string();
    let neighbour = Some(&*Box::leak(name.clone().into_boxed_str()));
    let synapse = Synapse::start(Options { neighbour, ..Options::default() }).await.unwrap();
    let user = synapse.register("odoo", "let me in", false).await.unwrap();
    let homeserver = Homeserver::new(synapse.url(), user.token().into(), true, Duration::from_secs(4)).unwrap();

    let asked = format!("@jane:{name}");
    let (answer, _asked) = tokio::join!(homeserver.query_keys([user.id(), &asked]), silent.accept());

    let answer = answer.unwrap();
    assert!(answer["failures"][&name].is_object() && answer["device_keys"][user.id()].is_object(), "{answer}");
}

#[tokio::test]
async fn a_device_that_somebody_has_logged_out_keeps_its_messages_until_there_is_another_one() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let _worker = office.worker("w1");
    office.world.enqueue(&room, "one").await;
    office.world.until_empty().await;
    assert_eq!(reader.read(&room, STRICT).await, all(&["one"]));
    let next = office.synapse.log_in(&office.bot, "let me in").await.unwrap();

    office.bot.log_out().await.unwrap();
    office.world.enqueue(&room, "two").await;
    office.world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'unauthorized')").await;
    assert_eq!(office.world.log().await.iter().filter(|row| row.is_final).count(), 1);

    let ask = "INSERT INTO matrix_crypto_request (backend_id, kind) VALUES ($1, 'new_device')";
    office.world.client.execute(ask, &[&office.world.backend]).await.unwrap();
    office.use_token(&next).await;
    office.world.until_empty().await;
    assert_eq!(reader.read(&room, STRICT).await, all(&["one", "two"]));
    assert_eq!(assert_no_index_twice(&anna, &room).await, 2, "the former device's key is not used any more");
}
