//! Direct messages: one room per person, found or made, and kept.

use serde_json::json;
use stack::{
    homeserver::{BOT, Fault, Membership, Room},
    world::World,
};

use crate::BINARY;

pub(crate) const PERSON: &str = "@lawyer:double.test";

/// The one room that was made.
pub(crate) fn only_room(world: &World) -> String {
    let mut made = world.homeserver.rooms_made();
    assert_eq!(made.len(), 1, "{made:?}");
    made.remove(0)
}

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
    let logged = world.client.query("SELECT room_id, matrix_user_id FROM matrix_log", &[]).await.unwrap();
    let logged: Vec<(String, String)> = logged.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(logged, vec![(made[0].clone(), PERSON.to_owned()); 2]);
}

/// The outbox accepts an ID without a server, which no account can have.
#[tokio::test]
async fn a_person_who_cannot_exist_gets_no_room_and_the_log_says_why() {
    let world = World::new(BINARY).await;
    let (nobody, somebody) =
        (world.enqueue_direct("@lawyer", "first").await, world.enqueue_direct(PERSON, "second").await);
    let _worker = world.worker("w1");

    world.until_empty().await;

    let log = world.log().await;
    let failed = log.iter().find(|row| row.outbox_id == nobody).unwrap();
    assert_eq!((failed.is_final, failed.error_code.as_deref()), (true, Some("org.odoo.no_such_user")), "{failed:?}");
    assert!(failed.error_message.as_deref().unwrap().contains("«@lawyer» is not a valid Matrix ID"), "{failed:?}");
    let line = format!("sending{{lane={0}/@lawyer backend.id={0}}}: Not sent, and will not be", world.backend);
    assert!(world.worker_logs().contains(&line), "{}", world.worker_logs());
    assert_eq!(log.iter().filter(|row| row.status == "ok").map(|row| row.outbox_id).collect::<Vec<_>>(), [somebody]);
    only_room(&world);
}

/// The list belongs to everybody who has the account: what others wrote there is kept.
#[tokio::test]
async fn a_list_of_direct_rooms_of_any_shape_keeps_everything_but_the_entry_of_the_person() {
    for (before, after) in [
        (
            json!({ "@a:x": ["!1"], "@b:x": null, "@c:x": ["!2"] }),
            json!({ "@a:x": ["!1"], "@b:x": null, "@c:x": ["!2"], PERSON: ["ROOM"] }),
        ),
        (
            json!({ "@a:x": "!1", "@b:x": { "!3": [1.5, true] }, "": 7, PERSON: [null, "!gone:x", {}] }),
            json!({ "@a:x": "!1", "@b:x": { "!3": [1.5, true] }, "": 7, PERSON: ["ROOM", null, "!gone:x", {}] }),
        ),
        (json!({ PERSON: 0 }), json!({ PERSON: ["ROOM", 0] })),
        (json!({ PERSON: null }), json!({ PERSON: ["ROOM"] })),
        (
            json!({ "@a:x": [[null, [null]], {}], PERSON: "!1" }),
            json!({ "@a:x": [[null, [null]], {}], PERSON: ["ROOM", "!1"] }),
        ),
        // Not a list at all: nothing may be written over it, and the message goes out.
        (json!(["!1"]), json!(["!1"])),
        (json!(null), json!(null)),
        (json!("!1"), json!("!1")),
        (json!(7.5), json!(7.5)),
        (json!(true), json!(true)),
    ] {
        let world = World::new(BINARY).await;
        world.homeserver.set_direct(before.clone());
        let _worker = world.worker("w1");

        let id = world.enqueue_direct(PERSON, "hello").await;
        world.assert_settled(&[id]).await;

        let room = only_room(&world);
        assert_eq!(world.homeserver.bodies(&room), ["hello"], "{before}");
        let wanted = after.to_string().replace("ROOM", &room);
        assert_eq!(world.homeserver.direct().unwrap().to_string(), wanted, "{before}");
    }
}

/// Beyond what is read of an answer it cannot be changed without losing something.
#[tokio::test]
async fn a_list_of_direct_rooms_of_any_size_loses_nothing() {
    for (people, is_listed) in [(20_000, true), (120_000, false)] {
        let list: serde_json::Map<_, _> = (0..people)
            .map(|number| (format!("@person{number}:x"), json!([format!("!room{number}:x"), null])))
            .collect();
        let mut wanted = serde_json::Value::Object(list);
        let world = World::new(BINARY).await;
        world.homeserver.set_direct(wanted.clone());
        let _worker = world.worker_with("w1", &[("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "25")]);

        let id = world.enqueue_direct(PERSON, "hello").await;
        world.assert_settled(&[id]).await;

        let room = only_room(&world);
        assert_eq!(world.homeserver.bodies(&room), ["hello"]);
        if is_listed {
            wanted[PERSON] = json!([room]);
        }
        assert!(world.homeserver.direct().unwrap() == wanted, "the list of {people} people");
    }
}

#[tokio::test]
async fn forty_new_people_at_once_have_forty_rooms_and_forty_entries() {
    let world = World::new(BINARY).await;
    world.homeserver.set_direct(json!({ "@a:x": ["!1"], "@b:x": null }));
    // Long enough for each read and write of the list to meet others.
    world.homeserver.delay(std::time::Duration::from_millis(30));
    // So that no worker takes all lanes.
    let few = [("WORKER_CONCURRENCY", "3")];
    let _workers = ["w1", "w2", "w3"].map(|name| world.worker_with(name, &few));
    world.until("SELECT count(*) = 3 FROM matrix_worker").await;
    let people: Vec<_> = (0..40).map(|number| format!("@person{number}:double.test")).collect();
    let mut ids = Vec::new();
    for person in &people {
        ids.push(world.enqueue_direct(person, person).await);
    }
    world.assert_settled(&ids).await;

    let senders = world.client.query_one("SELECT count(DISTINCT worker) FROM matrix_log", &[]).await.unwrap();
    assert_eq!(senders.get::<_, i64>(0), 3, "all workers had their part");
    assert_eq!(world.homeserver.rooms_made().len(), 40);
    let list = world.homeserver.direct().unwrap();
    assert_eq!((&list["@a:x"], &list["@b:x"]), (&json!(["!1"]), &json!(null)));
    assert_eq!(list.as_object().unwrap().len(), 42, "{list}");
    for person in &people {
        let rooms = world.homeserver.rooms_of(person);
        assert_eq!(list[person.as_str()], json!(rooms), "{person}");
        assert_eq!(rooms.len(), 1, "{person}");
        assert_eq!(world.homeserver.bodies(&rooms[0]), [person.as_str()]);
    }
}

#[tokio::test]
async fn a_list_that_another_worker_writes_without_end_holds_up_no_message() {
    let world = World::new(BINARY).await;
    let other = world.database.connect().await.unwrap();
    other.query("SELECT pg_advisory_lock(1836348026, hashtext($1))", &[&BOT]).await.unwrap();
    let _worker = world.worker("w1");

    let first = world.enqueue_direct(PERSON, "first").await;
    world.assert_settled(&[first]).await;
    assert_eq!(world.homeserver.direct(), None);

    drop(other);
    let second = world.enqueue_direct(PERSON, "second").await;
    world.assert_settled(&[first, second]).await;
    assert_eq!(world.homeserver.direct().unwrap(), json!({ PERSON: [only_room(&world)] }));
}

/// Where the writing failed, or the worker died before it.
#[tokio::test]
async fn an_entry_that_is_missing_is_added_with_the_next_message() {
    let world = World::new(BINARY).await;
    let worker = world.worker("w1");
    let first = world.enqueue_direct(PERSON, "first").await;
    world.assert_settled(&[first]).await;
    drop(worker);
    world.homeserver.set_direct(json!({}));

    let _worker = world.worker("w2");
    let second = world.enqueue_direct(PERSON, "second").await;
    world.assert_settled(&[first, second]).await;

    assert_eq!(world.homeserver.direct().unwrap(), json!({ PERSON: [only_room(&world)] }));
}

#[tokio::test]
async fn a_homeserver_that_encrypts_every_new_room_gets_one_room_and_one_plain_reason() {
    let world = World::new(BINARY).await;
    world.homeserver.encrypt_new_rooms();
    let mut ids = Vec::new();
    for body in ["one", "two", "three"] {
        // Each by another process, which remembers nothing.
        let _worker = world.worker(body);
        ids.push(world.enqueue_direct(PERSON, body).await);
        world.assert_settled(&ids).await;
    }

    for row in world.log().await {
        assert_eq!((row.error_code.as_deref(), row.is_final), (Some("org.odoo.encrypted"), true), "{row:?}");
        assert!(row.error_message.unwrap().starts_with("the homeserver encrypts every new room"));
    }
    only_room(&world);
    assert_eq!(world.homeserver.rooms_of(PERSON), [""; 0], "nobody is invited to a room that cannot be used");

    let agreed = world.enqueue_direct(PERSON, "agreed").await;
    let consent = r#"UPDATE matrix_outbox SET content = content || '{"org.odoo.unencrypted": true}'"#;
    world.client.batch_execute(consent).await.unwrap();
    let _worker = world.worker("last");
    ids.push(agreed);
    world.assert_settled(&ids).await;
    assert_eq!(world.homeserver.bodies(&only_room(&world)), ["agreed"]);
}

/// The room was made by the person, or belongs to others by now.
/// Rooms that the account made before, in a homeserver that may or may not know a repeated call.
#[tokio::test]
async fn a_room_whose_making_was_not_answered_is_made_once_where_the_homeserver_remembers_it() {
    for (is_forgetful, rooms) in [(false, 1), (true, 2)] {
        let world = World::new(BINARY).await;
        if is_forgetful {
            world.homeserver.forget_creations();
            // The call with a transaction id, which is refused.
            world.homeserver.fail_creation(Fault::Refuse { status: 404, errcode: "M_UNRECOGNIZED" });
        }
        world.homeserver.fail_creation(Fault::ResetAccepted);
        let _worker = world.worker("w1");

        let id = world.enqueue_direct(PERSON, "hello").await;
        world.assert_settled(&[id]).await;

        assert_eq!(world.homeserver.rooms_made().len(), rooms);
        assert_eq!(world.homeserver.rooms_of(PERSON).len(), 1);
    }
}

#[tokio::test]
async fn direct_messages_of_each_person_stay_in_order_with_three_workers() {
    let world = World::new(BINARY).await;
    world.homeserver.delay(std::time::Duration::from_millis(2));
    let people: Vec<_> = (0..10).map(|number| format!("@person{number}:double.test")).collect();
    let _workers = ["w1", "w2", "w3"].map(|name| world.worker_with(name, &[("WORKER_CONCURRENCY", "4")]));
    let mut ids = Vec::new();
    for round in 1..=20 {
        for person in &people {
            ids.push(world.enqueue_direct(person, &format!("message {round}")).await);
        }
    }

    world.assert_settled(&ids).await;

    assert_eq!(world.homeserver.rooms_made().len(), 10);
    let rooms: Vec<_> = people.iter().flat_map(|person| world.homeserver.rooms_of(person)).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    assert_eq!(rooms.len(), 10);
    world.assert_in_order(&rooms, "message", 20);
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
async fn a_limit_on_creating_rooms_holds_up_that_person_and_nobody_else() {
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
async fn a_message_of_yesterday_that_is_in_the_room_is_not_sent_again() {
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
