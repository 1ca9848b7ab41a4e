//! Keys that are missing are asked for, and sessions with other devices that are damaged are replaced, so that they do not go missing.

use odoo_matrix_worker::{
    crypto::{CryptoError, Decrypted},
    message::EventId,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use stack::{
    relay::Relay,
    synapse::{Options, Synapse, User},
};

use crate::{
    account::Account,
    people::{Bot, LENIENT, Reader, homeserver_at},
    setup::{ask, store_secrets},
};

/// The newest encrypted event of a room, as the worker gets it.
pub(crate) async fn newest(user: &User, room: &str) -> Value {
    let events = user.timeline(room).await.unwrap();
    let event = events.into_iter().rfind(|event| event.kind == "m.room.encrypted").unwrap();
    json!({
        "type": event.kind, "event_id": event.event_id, "sender": event.sender, "room_id": room, "origin_server_ts": 1,
        "content": event.content,
    })
}

/// The account with signing keys, which Element has made, and anna in a room with it.
struct Signed {
    account: Account,
    synapse: Synapse,
    user: User,
    element: Reader,
    recovery_key: String,
    anna: User,
    room: String,
}

async fn signed() -> Signed {
    let synapse = Synapse::start(Options { unlimited: true, ..Options::default() }).await.unwrap();
    let user = synapse.register("odoo", "let me in", false).await.unwrap();
    let anna = synapse.register("anna", "in", false).await.unwrap();
    let room = anna.create_room("Case", &[&user]).await.unwrap();
    anna.encrypt(&room).await.unwrap();
    user.join(&room).await.unwrap();
    let element = Reader::new(&synapse, &synapse.log_in(&user, "let me in").await.unwrap()).await;
    element.make_signing_keys().await;
    let recovery_key = store_secrets(&synapse, &user, &element).await;
    Signed { account: Account::new().await, synapse, user, element, recovery_key, anna, room }
}

/// Says a text in the room, whose key the account's Element gets, and the worker does not.
async fn say_without_key(reader: &mut Reader, signed: &Signed, body: &str) -> Value {
    let keys = reader.say(&signed.room, &json!({ "msgtype": "m.text", "body": body })).await;
    reader.give_keys_except(&keys, signed.user.device_id()).await;
    newest(&signed.anna, &signed.room).await
}

#[tokio::test]
async fn a_key_that_did_not_come_is_got_from_another_device_of_the_account() -> Result<(), CryptoError> {
    let mut signed = signed().await;
    let store = signed.account.store("w1");
    let Signed { account, synapse, user, recovery_key, anna, room, .. } = &signed;
    let mut bot = ask(account, &store, synapse, user, "recovery_key", Some(recovery_key)).await?;
    bot.hear().await?;
    let mut reader = Reader::new(synapse, anna).await;
    let redacted = json!({ "type": "m.room.encrypted", "room_id": room, "content": {} });
    signed.element.keep_up().await;

    let event = say_without_key(&mut reader, &signed, "Hello").await;
    signed.element.keep_up().await;
    bot.hear().await?;
    assert!(matches!(bot.device.decrypt(&event).await?, Decrypted::NoKey { may_come: true, .. }));
    bot.device.await_key(&event).await?;
    signed.element.keep_up().await;
    bot.hear().await?;

    assert_eq!(late(&bot).await, [event["event_id"].as_str().unwrap()]);
    let read = bot.device.decrypt(&event).await?;
    assert!(matches!(&read, Decrypted::Event { content, .. } if content["body"] == "Hello"), "{read:?}");
    assert!(matches!(bot.device.decrypt(&redacted).await?, Decrypted::Nothing));
    Ok(())
}

async fn late(bot: &Bot) -> Vec<String> {
    bot.device.take_late().await.iter().map(|(_, id)| id.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_key_is_asked_for_as_soon_as_somebody_can_give_it_and_as_long_as_an_event_needs_it() -> Result<(), CryptoError>
{
    let mut signed = signed().await;
    let store = signed.account.store("w1");
    let Signed { account, synapse, user, recovery_key, anna, .. } = &signed;
    let mut reader = Reader::new(synapse, anna).await;

    // As long as the worker's device is not signed, it trusts no other one.
    let bot = Bot::open(account, &store, &account.follow(&store).await, synapse, user).await?;
    let first = say_without_key(&mut reader, &signed, "first").await;
    bot.device.await_key(&first).await?;
    drop(bot);
    let mut bot = ask(account, &store, synapse, user, "recovery_key", Some(recovery_key)).await?;
    bot.hear().await?;
    // The same key is asked for with the second event, which is gone before the answer.
    let second = say_without_key(&mut reader, &signed, "second").await;
    assert_eq!(first["content"]["session_id"], second["content"]["session_id"]);
    signed.element.keep_up().await;
    bot.device.await_key(&second).await?;
    bot.device.forget_late(&EventId::new(second["event_id"].as_str().unwrap())).await?;
    signed.element.keep_up().await;
    bot.hear().await?;

    assert_eq!(late(&bot).await, [first["event_id"].as_str().unwrap()]);
    Ok(())
}

/// Makes the sessions with others useless, as if their clients had gone back to an earlier state. Sessions are replaced once they are an
/// hour old.
async fn damage_sessions(account: &Account) {
    let client = &account.world.client;
    let rows = client.query("SELECT id, sealed FROM matrix_crypto_item WHERE kind = 'session' ORDER BY id", &[]).await;
    let read = |row: &tokio_postgres::Row| {
        let text = account.keys.open("session", row.get(1)).unwrap();
        let (kind, parts, value): (String, Value, String) = serde_json::from_str(text.expose_secret()).unwrap();
        (row.get::<_, i64>(0), kind, parts, serde_json::from_str::<Value>(&value).unwrap())
    };
    let sessions: Vec<_> = rows.unwrap().iter().map(read).collect();
    assert!(sessions.len() > 1, "each gets that of another one");
    for (place, (id, kind, parts, value)) in sessions.iter().enumerate() {
        let mut value = value.clone();
        value["pickle"] = sessions[(place + 1) % sessions.len()].3["pickle"].clone();
        value["creation_time"] = json!(value["creation_time"].as_u64().unwrap() - 2 * 3600);
        let text = json!([kind, parts, value.to_string()]).to_string();
        let sealed = account.keys.seal(text.as_bytes()).unwrap();
        client.execute("UPDATE matrix_crypto_item SET sealed = $1 WHERE id = $2", &[&sealed, id]).await.unwrap();
    }
}

/// The bot and two people, with whom it has damaged sessions, the phone of the first of them, and a room.
struct Damaged {
    /// It has the database.
    _account: Account,
    synapse: Synapse,
    anna: User,
    phone: Reader,
    room: String,
    bot: Bot,
    /// By which the bot reaches the homeserver.
    relay: Relay,
}

impl Damaged {
    /// Anna writes `body` on her phone, which gives the bot the key: what the bot can read of it.
    async fn read(&mut self, body: &str) -> Result<Decrypted, CryptoError> {
        let keys = self.phone.say(&self.room, &json!({ "msgtype": "m.text", "body": body })).await;
        self.phone.give_keys(&keys).await;
        self.bot.hear().await?;
        self.bot.device.decrypt(&newest(&self.anna, &self.room).await).await
    }
}

async fn damaged() -> Result<Damaged, CryptoError> {
    let synapse = Synapse::start(Options { unlimited: true, ..Options::default() }).await.unwrap();
    let user = synapse.register("odoo", "let me in", false).await.unwrap();
    let (anna, ben) =
        (synapse.register("anna", "in", false).await.unwrap(), synapse.register("ben", "in", false).await.unwrap());
    let room = anna.create_room("Case", &[&user, &ben]).await.unwrap();
    anna.encrypt(&room).await.unwrap();
    for other in [&user, &ben] {
        other.join(&room).await.unwrap();
    }
    let mut phone = Reader::new(&synapse, &anna).await;
    let _other = Reader::new(&synapse, &ben).await;
    let account = Account::new().await;
    let store = account.store("w1");
    let open = async || Bot::open(&account, &store, &account.follow(&store).await, &synapse, &user).await;
    open().await?.write(&room, "question", "t1").await?;
    phone.keep_up().await;
    damage_sessions(&account).await;
    let relay = Relay::start(synapse.url()).await.unwrap();
    let following = account.follow(&store).await;
    let bot = Bot::open_with(&account, &store, &following, homeserver_at(&relay.url(), &user), &user).await?;
    Ok(Damaged { _account: account, synapse, anna, phone, room, bot, relay })
}

#[tokio::test]
async fn a_damaged_session_is_replaced_at_once_and_the_sender_gives_the_key_again() -> Result<(), CryptoError> {
    let mut damaged = damaged().await?;

    assert!(matches!(damaged.read("lost").await?, Decrypted::NoKey { .. }));
    damaged.phone.keep_up().await;

    let read = damaged.read("found").await?;
    assert!(matches!(&read, Decrypted::Event { content, .. } if content["body"] == "found"), "{read:?}");
    Ok(())
}

#[tokio::test]
async fn a_device_whose_keys_were_claimed_in_vain_is_asked_again_with_the_next_message_and_hears_of_it()
-> Result<(), CryptoError> {
    let mut damaged = damaged().await?;

    damaged.relay.alter("/keys/claim", "signed_curve25519", "absent_curve25519");
    for body in ["lost", "lost as well"] {
        assert!(matches!(damaged.read(body).await?, Decrypted::NoKey { .. }), "{body}");
        damaged.phone.keep_up().await;
    }
    damaged.relay.heal();
    damaged.bot.write(&damaged.room, "answer", "t2").await?;
    damaged.phone.keep_up().await;

    let read = damaged.read("found").await?;
    assert!(matches!(&read, Decrypted::Event { content, .. } if content["body"] == "found"), "{read:?}");
    Ok(())
}

#[tokio::test]
async fn a_device_that_is_gone_before_its_session_is_replaced_holds_nothing_up() -> Result<(), CryptoError> {
    let Damaged { _account, synapse, anna, mut phone, room, mut bot, relay: _relay } = damaged().await?;
    let laptop = synapse.log_in(&anna, "in").await.unwrap();
    let mut of_laptop = Reader::new(&synapse, &laptop).await;

    let keys = phone.say(&room, &json!({ "msgtype": "m.text", "body": "lost" })).await;
    phone.give_keys(&keys).await;
    anna.log_out().await.unwrap();

    bot.hear().await?;
    bot.write(&room, "and on", "t2").await?;
    bot.hear().await?;
    assert_eq!(of_laptop.read(&room, LENIENT).await.last().unwrap().as_deref(), Ok("and on"));
    Ok(())
}
