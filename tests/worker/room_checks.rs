//! Before a claim sends into a room it checks whether the room was encrypted, replaced or left.

use stack::{
    homeserver::{Membership, Room},
    world::{World, kill},
};

use crate::BINARY;

pub(crate) const ROOM: &str = "!case:double.test";
const NEW: &str = "!new:double.test";
const PERSON: &str = "@jane:double.test";

pub(crate) fn encrypted() -> Room {
    Room { is_encrypted: true, ..Room::default() }
}

/// A table as Odoo makes one for records with a room, and one record.
pub(crate) async fn record(world: &World, is_allowed: bool) {
    let sql = format!(
        "CREATE TABLE test_record (id integer PRIMARY KEY, matrix_room_id varchar, matrix_send_unencrypted boolean);
        INSERT INTO test_record VALUES (7, '{ROOM}', {is_allowed})"
    );
    world.client.batch_execute(&sql).await.unwrap();
}

/// Queues a message of that record, to which its users had agreed by then.
pub(crate) async fn agreed(world: &World, room: &str, body: &str) -> i64 {
    let id = world.enqueue(room, body).await;
    let sql = r#"UPDATE matrix_outbox SET res_model = 'test.record', res_id = 7,
        content = content || '{"org.odoo.unencrypted": true}' WHERE id = $1"#;
    world.client.execute(sql, &[&id]).await.unwrap();
    id
}

#[tokio::test]
async fn a_room_that_becomes_encrypted_gets_nothing_unencrypted_from_the_next_claim_on() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, Room::default());
    let _worker = world.worker("w1");
    let mut ids = vec![world.enqueue(ROOM, "before").await];
    world.assert_settled(&ids).await;

    world.homeserver.room(ROOM, encrypted());
    for body in ["at once", "later"] {
        ids.push(world.enqueue(ROOM, body).await);
        world.assert_settled(&ids).await;
    }

    assert_eq!(world.homeserver.bodies(ROOM), ["before"]);
    let failed = world.log().await.into_iter().filter(|row| row.error_code.as_deref() == Some("org.odoo.encrypted"));
    assert_eq!(failed.count(), 2);
}

/// A worker was killed after it had come in by the room's rule and before it had looked at that rule: the room also lets in others, or is by
/// invitation only meanwhile. Another record may use the room, so the account stays.
#[tokio::test]
async fn a_successor_that_the_account_came_into_by_its_rule_must_let_in_the_members_of_the_old_one_and_nobody_else() {
    for (is_open_to_others, reason) in [
        (true, "it lets in others than the members of the old one"),
        (false, "it lets in only those who are invited, and nobody has invited this account"),
    ] {
        let world = World::new(BINARY).await;
        let lawyer = "@lawyer:double.test".to_owned();
        let old = Room { tombstone: Some(NEW.to_owned()), members: vec![lawyer.clone()], ..Room::default() };
        let new = Room {
            predecessor: Some(ROOM.to_owned()),
            creator: Some(lawyer),
            was_joined_by_rule: true,
            is_open_to_others,
            ..Room::default()
        };
        world.homeserver.room(ROOM, old);
        world.homeserver.room(NEW, new);
        let _worker = world.worker("w1");

        let id = world.enqueue(ROOM, "secret").await;

        world.assert_settled(&[id]).await;
        let row = world.log().await.remove(0);
        assert_eq!(row.error_code.as_deref(), Some("org.odoo.room_replaced"), "{row:?}");
        let text = row.error_message.unwrap();
        assert!(text.contains(reason) && text.contains("confirm the new room on the record"), "{text}");
        assert_eq!(world.homeserver.room_now(NEW).unwrap().membership, Membership::Joined);
    }
}

#[tokio::test]
async fn consent_counts_as_it_is_now_and_for_the_record_s_own_room() {
    for (is_allowed, room, arrives) in [(true, ROOM, true), (false, ROOM, false), (true, NEW, false)] {
        let world = World::new(BINARY).await;
        world.homeserver.room(room, encrypted());
        record(&world, is_allowed).await;
        let id = agreed(&world, room, "agreed").await;

        let _worker = world.worker("w1");

        world.assert_settled(&[id]).await;
        let wanted: &[_] = if arrives { &["agreed"] } else { &[] };
        assert_eq!(world.homeserver.bodies(room), wanted, "allowed: {is_allowed}, room: {room}");
    }
}

/// All messages of the lane would go there from then on.
#[tokio::test]
async fn a_room_that_is_not_encrypted_replaces_an_encrypted_one_only_with_consent_as_it_is_now() {
    for is_allowed in [true, false] {
        let world = World::new(BINARY).await;
        let members = vec![PERSON.to_owned()];
        world.homeserver.room(ROOM, Room { tombstone: Some(NEW.to_owned()), members, ..encrypted() });
        let (predecessor, invited_by) = (Some(ROOM.to_owned()), Some(PERSON.to_owned()));
        world
            .homeserver
            .room(NEW, Room { membership: Membership::Invited, predecessor, invited_by, ..Room::default() });
        record(&world, is_allowed).await;
        let id = agreed(&world, ROOM, "agreed").await;

        let _worker = world.worker("w1");

        world.assert_settled(&[id]).await;
        let (wanted, code): (&[&str], _) =
            if is_allowed { (&["agreed"], None) } else { (&[], Some("org.odoo.room_replaced")) };
        assert_eq!(world.homeserver.bodies(NEW), wanted);
        assert_eq!(world.log().await[0].error_code.as_deref(), code);
    }
}

#[tokio::test]
async fn a_record_whose_table_is_gone_or_has_no_consent_column_allows_nothing() {
    for table in ["", "CREATE TABLE test_record (id integer PRIMARY KEY)"] {
        let world = World::new(BINARY).await;
        world.homeserver.room(ROOM, encrypted());
        world.client.batch_execute(table).await.unwrap();
        let id = agreed(&world, ROOM, "agreed").await;
        let _worker = world.worker("w1");

        world.assert_settled(&[id]).await;

        assert_eq!(world.homeserver.count(), 0, "{table}");
    }
}

/// The account may still post in the old room, so the homeserver would accept the message.
#[tokio::test]
async fn nothing_goes_into_a_room_that_was_replaced() {
    let world = World::new(BINARY).await;
    world
        .homeserver
        .room(ROOM, Room { tombstone: Some(NEW.to_owned()), is_open_after_tombstone: true, ..Room::default() });
    let ids = world.enqueue_many(&[ROOM], "message", 2).await;
    let _worker = world.worker("w1");

    world.until_resting(ROOM).await;
    world.later(601).await;
    world.assert_settled(&ids).await;

    assert_eq!(world.homeserver.count(), 0);
    let log = world.log().await;
    assert!(log.iter().all(|row| row.error_code.as_deref() == Some("org.odoo.room_replaced")), "{log:?}");
}

#[tokio::test]
async fn a_direct_room_that_was_replaced_gets_nothing() {
    let world = World::new(BINARY).await;
    let _worker = world.worker("w1");
    let first = world.enqueue_direct(PERSON, "one").await;
    world.assert_settled(&[first]).await;
    let room = world.homeserver.rooms_made().remove(0);
    let before = world.homeserver.room_now(&room).unwrap();
    world.homeserver.room(&room, Room { tombstone: Some(NEW.to_owned()), is_open_after_tombstone: true, ..before });

    let second = world.enqueue_direct(PERSON, "two").await;

    world.assert_settled(&[first, second]).await;
    assert_eq!(world.homeserver.bodies(&room), ["one"]);
    let other = world.homeserver.rooms_made().into_iter().find(|made| *made != room).unwrap();
    assert_eq!(world.homeserver.bodies(&other), ["two"]);
}

#[tokio::test]
async fn a_claim_looks_once_however_many_messages_it_has() {
    let world = World::new(BINARY).await;
    let ids = world.enqueue_many(&[ROOM], "message", 30).await;
    let worker = world.worker("w1");

    world.assert_settled(&ids).await;

    kill(&worker).await;
    assert_eq!(world.homeserver.looks(), 2, "encryption and tombstone");
}
