//! Direct messages: one room per person, found or made, and kept.

use serde_json::json;
use stack::{
    homeserver::{Membership, Room},
    world::World,
};

use crate::BINARY;

const PERSON: &str = "@lawyer:double.test";

#[tokio::test]
async fn the_first_direct_message_makes_a_room_and_the_next_ones_use_it() {
    let world = World::new(BINARY).await;
    world.homeserver.set_direct(json!({ "@other:double.test": ["!theirs:double.test"] }));
    let _worker = world.worker("w1");

    let first = world.enqueue_direct(PERSON, "first").await;
    world.assert_settled(&[first]).await;
    let second = world.enqueue_direct(PERSON, "second").await;
    world.assert_settled(&[first, second]).await;

    let made = world.homeserver.rooms_made();
    assert_eq!(made.len(), 1);
    assert_eq!(world.homeserver.bodies(&made[0]), ["first", "second"]);
    let direct = world.homeserver.direct().unwrap();
    assert_eq!(direct, json!({ "@other:double.test": ["!theirs:double.test"], PERSON: [made[0]] }));
    let logged: String = world.client.query_one("SELECT room_id FROM matrix_log LIMIT 1", &[]).await.unwrap().get(0);
    assert_eq!(logged, made[0]);
}

#[tokio::test]
async fn a_room_that_both_are_in_is_used_and_one_that_somebody_left_is_not() {
    let world = World::new(BINARY).await;
    let both = Room { members: vec![PERSON.to_owned()], ..Room::default() };
    world.homeserver.room("!left:double.test", Room { membership: Membership::Left, ..both.clone() });
    world.homeserver.room("!alone:double.test", Room::default());
    world.homeserver.room("!old:double.test", Room { tombstone: Some("!x:double.test".to_owned()), ..both.clone() });
    world.homeserver.room("!secret:double.test", Room { is_encrypted: true, ..both.clone() });
    world.homeserver.room("!both:double.test", both);
    let listed =
        ["!left:double.test", "!alone:double.test", "!old:double.test", "!secret:double.test", "!both:double.test"];
    world.homeserver.set_direct(json!({ PERSON: listed }));
    let _worker = world.worker("w1");

    let id = world.enqueue_direct(PERSON, "hello").await;

    world.assert_settled(&[id]).await;
    assert_eq!(world.homeserver.bodies("!both:double.test"), ["hello"]);
    assert_eq!(world.homeserver.rooms_made(), [""; 0]);
}

#[tokio::test]
async fn a_direct_room_that_the_bot_was_thrown_out_of_is_replaced() {
    let world = World::new(BINARY).await;
    let _worker = world.worker("w1");
    let first = world.enqueue_direct(PERSON, "first").await;
    world.assert_settled(&[first]).await;
    let old = world.homeserver.rooms_made()[0].clone();
    world.homeserver.room(&old, Room { membership: Membership::Left, ..Room::default() });

    let second = world.enqueue_direct(PERSON, "second").await;

    world.assert_settled(&[first, second]).await;
    let new = world.homeserver.rooms_made().into_iter().find(|room| *room != old).unwrap();
    assert_eq!(world.homeserver.bodies(&new), ["second"]);
}

#[tokio::test]
async fn a_limit_on_making_rooms_holds_that_person_and_nobody_else() {
    let world = World::new(BINARY).await;
    world.homeserver.limit_next_room(1_500);
    let _worker = world.worker("w1");

    let held = world.enqueue_direct(PERSON, "later").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_lane WHERE retry_at IS NOT NULL)").await;
    let other = world.enqueue("!other:double.test", "at once").await;

    world.assert_settled(&[held, other]).await;
    assert_eq!(world.homeserver.events()[0].body(), "at once");
    assert!(world.log().await.iter().all(|row| row.status == "ok" && row.attempts == 1));
}

/// After a day the homeserver has forgotten the transaction id, so the room itself is asked.
#[tokio::test]
async fn a_message_of_yesterday_that_stands_in_the_room_is_not_sent_again() {
    let world = World::new(BINARY).await;
    let id = world.enqueue("!case:double.test", "once").await;
    let mark = "UPDATE matrix_outbox SET content = content || jsonb_build_object('org.odoo.outbox', txn_id)";
    world.client.execute(mark, &[]).await.unwrap();
    world.homeserver.hold_answers();
    let worker = world.worker("w1");
    world.homeserver.until_events(1).await;
    stack::world::kill(&worker).await;
    world.homeserver.release();
    world.homeserver.forget_transactions();
    let age = "UPDATE matrix_outbox SET queued_at = queued_at - interval '25 h'";
    world.client.execute(age, &[]).await.unwrap();

    let _successor = world.worker("w1");

    world.assert_settled(&[id]).await;
    assert_eq!(world.homeserver.bodies("!case:double.test"), ["once"]);
    assert_eq!(world.log().await[0].event_id.as_deref(), Some("$0"));
}
