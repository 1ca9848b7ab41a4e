//! What a client says about a key that it does not give is the reason in Logs.

use odoo_matrix_worker::crypto::{CryptoError, Decrypted};
use serde_json::json;
use stack::synapse::{Options, Synapse};

use crate::{
    account::Account,
    asking::newest,
    people::{Bot, Reader},
};

const NOT_SENT: &str = "the sender's device has not sent the key";

#[tokio::test]
async fn what_a_client_says_about_a_key_that_it_does_not_give_is_the_reason() -> Result<(), CryptoError> {
    let synapse = Synapse::start(Options { unlimited: true, ..Options::default() }).await.unwrap();
    let user = synapse.register("odoo", "let me in", false).await.unwrap();
    let anna = synapse.register("anna", "in", false).await.unwrap();
    let room = anna.create_room("Case", &[&user]).await.unwrap();
    anna.encrypt(&room).await.unwrap();
    user.join(&room).await.unwrap();
    let account = Account::new().await;
    let store = account.store("w1");
    let mut bot = Bot::open(&account, &store, &account.follow(&store).await, &synapse, &user).await?;

    for (code, reason, may_come) in [
        ("m.blacklisted", "the sender has blocked the account's device in their Matrix client", false),
        ("m.unverified", "the sender's Matrix client gives keys only to devices that it considers verified", false),
        ("m.unauthorised", "the sender's device says that the account may not have the key", false),
        // A device of the account that was asked does not have the key either.
        ("m.unavailable", NOT_SENT, true),
        // Says nothing about a certain key.
        ("m.no_olm", NOT_SENT, true),
    ] {
        // Its first message has a key of its own.
        let mut reader = Reader::new(&synapse, &synapse.log_in(&anna, "in").await.unwrap()).await;
        let keys = reader.say(&room, &json!({ "msgtype": "m.text", "body": "secret" })).await;
        reader.withhold(&keys, code).await;
        bot.hear().await?;

        let read = bot.device.decrypt(&newest(&anna, &room).await).await?;

        let Decrypted::NoKey { reason: found, may_come: is_awaited } = read else { panic!("{code}: {read:?}") };
        assert_eq!((found, is_awaited), (reason, may_come), "{code}");
    }
    Ok(())
}
