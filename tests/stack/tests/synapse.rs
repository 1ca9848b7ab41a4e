//! The homeserver behaves as other tests assume.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use stack::synapse::{Options, Synapse};

#[tokio::test]
async fn a_message_is_seen_by_the_other_member() {
    let synapse = Synapse::start(Options::default()).await.unwrap();
    let bot = synapse.register("bot", "secret bot", false).await.unwrap();
    let lawyer = synapse.register("lawyer", "secret lawyer", false).await.unwrap();
    assert!(!bot.device_id().is_empty());

    let room = bot.create_room("A case", &[&lawyer]).await.unwrap();
    lawyer.join(&room).await.unwrap();

    let seen = lawyer.timeline(&room).await.unwrap();
    let name = seen.iter().find(|event| event.kind == "m.room.name").expect("the name is an event");
    assert_eq!((name.sender.as_str(), name.content["name"].as_str()), (bot.id(), Some("A case")));
    assert!(lawyer.messages(&room).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_admin_exempts_a_bot_from_the_limits() {
    let synapse = Synapse::start(Options::default()).await.unwrap();
    let admin = synapse.register("admin", "secret admin", true).await.unwrap();
    let bot = synapse.register("bot", "secret bot", false).await.unwrap();

    synapse.exempt(&admin, &bot).await.unwrap();

    synapse.exempt(&bot, &admin).await.expect_err("a bot may not do that");
}

/// Making a room takes from the same allowance as sending.
#[tokio::test]
async fn limits_are_synapse_own_unless_asked_otherwise() {
    for (unlimited, all_made) in [(false, false), (true, true)] {
        let synapse = Synapse::start(Options { unlimited, ..Options::default() }).await.unwrap();
        let bot = synapse.register("bot", "secret bot", false).await.unwrap();

        let mut made = Vec::new();
        for number in 0..12 {
            made.push(bot.create_room(&format!("Case {number}"), &[]).await.is_ok());
        }

        assert_eq!(made.iter().all(|one| *one), all_made, "unlimited: {unlimited}, made: {made:?}");
    }
}

/// Not in the specification; the worker and the double count on it.
#[tokio::test]
async fn a_room_that_is_made_twice_under_one_transaction_id_is_one_room() {
    let synapse = Synapse::start(Options::default()).await.unwrap();
    let bot = synapse.register("bot", "secret bot", false).await.unwrap();

    let (one, other) = tokio::join!(bot.create_room_once("made-once"), bot.create_room_once("made-once"));

    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(bot.rooms().await.unwrap().len(), 1);
}
