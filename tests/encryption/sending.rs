//! A device of the worker on a real homeserver, and people who read what it writes with their own clients.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use odoo_matrix_worker::{
    crypto::{CryptoError, KeysError, Secret, Signature},
    matrix::DeviceNews,
    store::KeysState,
};
use serde_json::json;
use stack::synapse::{Options, Synapse, User};
use tokio::task::JoinSet;

use crate::{
    account::Account,
    people::{Bot, LENIENT, Reader, STRICT, assert_no_index_twice, homeserver},
};

async fn start() -> (Account, Synapse, User) {
    let synapse = Synapse::start(Options { unlimited: true, ..Options::default() }).await.unwrap();
    let bot = synapse.register("odoo", "let me in", false).await.unwrap();
    (Account::new().await, synapse, bot)
}

/// What a client can read in a room: `None` is a text for which it has no key.
async fn texts(reader: &mut Reader, room: &str) -> Vec<Option<String>> {
    reader.read(room, LENIENT).await.into_iter().map(Result::ok).collect()
}

fn all(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[tokio::test]
async fn those_who_are_in_the_room_read_what_is_written_then_on_every_device() {
    let (account, synapse, user) = start().await;
    let (anna, ben) =
        (synapse.register("anna", "in", false).await.unwrap(), synapse.register("ben", "in", false).await.unwrap());
    let room = anna.create_room("Case", &[&user, &ben]).await.unwrap();
    anna.encrypt(&room).await.unwrap();
    user.join(&room).await.unwrap();
    ben.join(&room).await.unwrap();
    let mut phone = Reader::new(&synapse, &anna).await;
    let mut laptop = Reader::new(&synapse, &synapse.log_in(&anna, "in").await.unwrap()).await;
    let mut leaver = Reader::new(&synapse, &ben).await;
    let store = account.store("w1");
    let following = account.follow(&store).await;
    let mut bot = Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();

    bot.write(&room, "one", "t1").await.unwrap();
    bot.write(&room, "two", "t2").await.unwrap();
    for reader in [&mut phone, &mut laptop, &mut leaver] {
        assert_eq!(texts(reader, &room).await, all(&["one", "two"]), "{:?}", reader.user);
    }
    assert_eq!(assert_no_index_twice(&anna, &room).await, 1, "one key serves for several messages");

    // A new device can read from then on.
    let mut tablet = Reader::new(&synapse, &synapse.log_in(&anna, "in").await.unwrap()).await;
    bot.hear().await.unwrap();
    bot.write(&room, "three", "t3").await.unwrap();
    assert_eq!(texts(&mut tablet, &room).await, [None, None, Some("three".to_owned())]);

    // Somebody who has left cannot, even if they get the ciphertext: they have no key of this session.
    texts(&mut leaver, &room).await;
    ben.leave(&room).await.unwrap();
    bot.write(&room, "four", "t4").await.unwrap();
    assert_eq!(assert_no_index_twice(&anna, &room).await, 2, "another key for those who stayed");
    anna.invite(&room, &ben).await.unwrap();
    ben.join(&room).await.unwrap();
    assert_eq!(
        texts(&mut leaver, &room).await,
        [Some("one".to_owned()), Some("two".to_owned()), Some("three".to_owned()), None]
    );

    // Somebody who joins later can read from then on.
    bot.write(&room, "five", "t5").await.unwrap();
    assert_eq!(texts(&mut leaver, &room).await.pop().unwrap(), Some("five".to_owned()));
    assert_eq!(texts(&mut phone, &room).await, all(&["one", "two", "three", "four", "five"]));

    // Without keys one can see that an Odoo sent it, and nothing else.
    let events = anna.timeline(&room).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!((last.content["org.odoo.outbox"].as_str(), last.body()), (Some("t5"), ""));
    let long = "x".repeat(46 << 10);
    assert!(matches!(bot.write(&room, &long, "t6").await, Err(CryptoError::TooLong)));
}

#[tokio::test]
async fn another_worker_goes_on_with_the_same_device_and_sends_nothing_twice() {
    let (account, synapse, user) = start().await;
    let anna = synapse.register("anna", "in", false).await.unwrap();
    let room = anna.create_room("Case", &[&user]).await.unwrap();
    anna.encrypt(&room).await.unwrap();
    user.join(&room).await.unwrap();
    let mut reader = Reader::new(&synapse, &anna).await;
    let (first, second) = (account.store("w1"), account.store("w2"));
    let following = account.follow(&first).await;
    let mut one = Bot::open(&account, &first, &following, &synapse, &user).await.unwrap();
    let event = one.write(&room, "one", "t1").await.unwrap();

    let following = account.follow(&second).await;
    let two = Bot::open(&account, &second, &following, &synapse, &user).await.unwrap();

    assert_eq!(two.device.fingerprint(), one.device.fingerprint());
    assert_eq!(
        two.write(&room, "one", "t1").await.unwrap(),
        event,
        "the text was encrypted anew, under the same transaction id"
    );
    two.write(&room, "two", "t2").await.unwrap();
    assert_eq!(texts(&mut reader, &room).await, all(&["one", "two"]));
    assert_eq!(assert_no_index_twice(&anna, &room).await, 2, "each worker has a key of its own");
    let fenced = one.hear().await.unwrap_err();
    assert!(matches!(fenced, CryptoError::Keys(KeysError::Fenced)) && fenced.ends_the_device(), "{fenced:?}");
}

#[tokio::test]
async fn keys_of_another_client_and_keys_of_an_earlier_time_are_never_touched() {
    let (account, synapse, user) = start().await;
    let store = account.store("w1");
    let refused = async |user: &User| {
        let following = account.follow(&store).await;
        match Bot::open(&account, &store, &following, &synapse, user).await {
            Err(CryptoError::Refused { state, reason }) => (state, reason),
            other => panic!("{:?}", other.map(drop)),
        }
    };
    let key = async |user: &User| {
        let answer = homeserver(&synapse, user).query_keys([user.id()]).await.unwrap();
        answer["device_keys"][user.id()][user.device_id()]["keys"].clone()
    };
    let state = async || {
        let row = account.world.client.query_one("SELECT state, reason FROM matrix_crypto", &[]).await.unwrap();
        (row.get::<_, String>(0), row.get::<_, Option<String>>(1))
    };

    // A token copied from somebody's client.
    let element = synapse.log_in(&user, "let me in").await.unwrap();
    Reader::new(&synapse, &element).await;
    let before = key(&element).await;
    let (found, reason) = refused(&element).await;
    assert!(found == KeysState::Refused && reason.contains("another client's"), "{reason}");
    assert!(before.is_object() && key(&element).await == before, "the client's keys are as they were");
    assert_eq!(state().await, ("refused".to_owned(), Some(reason)));

    // A separate device.
    account.world.client.batch_execute("DELETE FROM matrix_crypto; DELETE FROM matrix_crypto_item").await.unwrap();
    let following = account.follow(&store).await;
    let bot = Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();
    assert_eq!(state().await, ("ok".to_owned(), None));
    let own = key(&user).await;
    assert_eq!(own[format!("ed25519:{}", user.device_id())].as_str(), Some(&*bot.device.fingerprint()));

    // The token of another device, while the database has the keys of this one.
    let (found, reason) = refused(&element).await;
    assert!(
        found == KeysState::Lost && reason.contains(element.device_id()) && reason.contains(user.device_id()),
        "{reason}"
    );

    // Keys that are lost.
    let client = &account.world.client;
    client
        .batch_execute("CREATE TABLE items AS SELECT * FROM matrix_crypto_item; DELETE FROM matrix_crypto_item")
        .await
        .unwrap();
    let (found, reason) = refused(&user).await;
    assert!(found == KeysState::Lost && reason.contains("gone from the database"), "{reason}");
    client.batch_execute("INSERT INTO matrix_crypto_item SELECT * FROM items").await.unwrap();
    let following = account.follow(&store).await;
    Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();
    assert_eq!(state().await.0, "ok");

    // A machine that was reset to an earlier state: the homeserver remembers more than the database.
    client.batch_execute("UPDATE matrix_crypto SET epoch = 1, written_by = txid_current()").await.unwrap();
    for _ in 0..2 {
        let (found, reason) = refused(&user).await;
        assert!(found == KeysState::Moved && reason.contains("restored, or is a copy"), "{reason}");
        assert_eq!(state().await.0, "moved");
    }
    assert_eq!(key(&user).await, own);
}

#[tokio::test]
async fn a_strict_client_reads_from_the_first_message_on_because_the_device_is_signed_when_it_is_opened() {
    let (account, synapse, user) = start().await;
    let anna = synapse.register("anna", "in", false).await.unwrap();
    let room = anna.create_room("Case", &[&user]).await.unwrap();
    anna.encrypt(&room).await.unwrap();
    user.join(&room).await.unwrap();
    let mut strict = Reader::new(&synapse, &anna).await;
    let store = account.store("w1");
    let following = account.follow(&store).await;
    let bot = Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();

    bot.write(&room, "one", "t1").await.unwrap();
    assert_eq!(strict.read(&room, STRICT).await, [Ok("one".to_owned())]);
    for _ in 0..2 {
        assert_eq!(bot.device.sign(&Secret::None).await.unwrap(), Signature::Signed);
    }
    bot.write(&room, "two", "t2").await.unwrap();
    assert_eq!(strict.read(&room, STRICT).await, [Ok("one".to_owned()), Ok("two".to_owned())]);
    let again = Bot::open(&account, &store, &following, &synapse, &user).await.unwrap();
    assert_eq!(again.device.sign(&Secret::None).await.unwrap(), Signature::Signed);

    // Signing keys that somebody else has created for the account are not replaced.
    let other = synapse.register("other", "in", false).await.unwrap();
    Reader::new(&synapse, &synapse.log_in(&other, "in").await.unwrap()).await.make_signing_keys().await;
    let master = async || {
        let answer = homeserver(&synapse, &other).query_keys([other.id()]).await.unwrap();
        answer["master_keys"][other.id()]["keys"].clone()
    };
    let before = master().await;
    account.world.client.batch_execute("DELETE FROM matrix_crypto; DELETE FROM matrix_crypto_item").await.unwrap();
    let following = account.follow(&store).await;
    let bot = Bot::open(&account, &store, &following, &synapse, &other).await.unwrap();
    let signature = bot.device.sign(&Secret::None).await.unwrap();
    assert!(matches!(&signature, Signature::Missing(why) if why.contains("recovery key")), "{signature:?}");
    assert!(before.is_object() && master().await == before);
}

/// The crypto machine waits for the devices of somebody who is to be asked about, and has none: such as the account itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_change_all_the_time_do_not_hold_up_the_rooms() {
    const ROOMS: usize = 10;
    let (account, synapse, user) = start().await;
    let anna = synapse.register("anna", "in", false).await.unwrap();
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        let room = anna.create_room("Case", &[&user]).await.unwrap();
        anna.encrypt(&room).await.unwrap();
        user.join(&room).await.unwrap();
        rooms.push(room);
    }
    let mut reader = Reader::new(&synapse, &anna).await;
    let store = account.store("w1");
    let following = account.follow(&store).await;
    let bot = Arc::new(Bot::open(&account, &store, &following, &synapse, &user).await.unwrap());
    let changed = DeviceNews { device_lists: json!({ "changed": [user.id()], "left": [] }), ..DeviceNews::default() };
    let hearing = async {
        loop {
            bot.device.hear(&changed, "s1").await.unwrap();
        }
    };

    let began = Instant::now();
    let mut writing = JoinSet::new();
    for room in rooms.clone() {
        let bot = bot.clone();
        writing.spawn(async move { bot.write(&room, "hello", &room).await.unwrap() });
    }
    tokio::select! {
        () = hearing => {}
        written = writing.join_all() => assert_eq!(written.len(), ROOMS),
    }

    // It waits for five seconds, here in each of the rooms after the other.
    assert!(began.elapsed() < Duration::from_secs(5) * ROOMS as u32 / 2, "{:?}", began.elapsed());
    for room in &rooms {
        assert_eq!(texts(&mut reader, room).await, all(&["hello"]));
    }
}
