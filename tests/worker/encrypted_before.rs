//! What was encrypted is not sent in clear by a worker that does not encrypt: it refuses the message, and makes no other room for it.

use stack::{
    homeserver::{Membership, Room},
    world::World,
};

use crate::{BINARY, direct::PERSON};

pub(crate) const SECRET: &str = "!secret:double.test";

/// The person's messages went to this room, encrypted.
pub(crate) async fn wrote_encrypted(world: &World) {
    let sql = format!(
        "INSERT INTO matrix_lane (lane, room_id) VALUES ('{0}/{PERSON}', '{SECRET}');
        INSERT INTO matrix_encrypted_room (backend_id, room_id) VALUES ({0}, '{SECRET}')",
        world.backend
    );
    world.client.batch_execute(&sql).await.unwrap();
}

/// Sends a message to the person, which must be refused. Returns why.
pub(crate) async fn refused(world: &World) -> String {
    let id = world.enqueue_direct(PERSON, "secret").await;
    let _worker = world.worker("w1");
    world.assert_settled(&[id]).await;
    let row = world.log().await.remove(0);
    assert_eq!((row.error_code.as_deref(), row.is_final), (Some("org.odoo.encrypted"), true), "{row:?}");
    assert_eq!(world.homeserver.rooms_made(), [""; 0]);
    row.error_message.unwrap()
}

#[tokio::test]
async fn a_person_whose_messages_were_encrypted_gets_no_room_that_is_not() {
    for membership in [Membership::Joined, Membership::Left] {
        let world = World::new(BINARY).await;
        // It denies that the room is encrypted, or the account is not in it any more.
        world.homeserver.room(SECRET, Room { membership, members: vec![PERSON.to_owned()], ..Room::default() });
        wrote_encrypted(&world).await;

        let why = refused(&world).await;

        assert!(why.contains("encryption is turned off"), "{why}");
        let kept: String = world.client.query_one("SELECT room_id FROM matrix_lane", &[]).await.unwrap().get(0);
        assert_eq!(kept, SECRET);
    }
}

#[tokio::test]
async fn a_homeserver_that_denies_that_a_room_was_encrypted_gets_nothing() {
    let world = World::new(BINARY).await;
    let sql = "INSERT INTO matrix_encrypted_room (backend_id, room_id) VALUES ($1, $2)";
    world.client.execute(sql, &[&world.backend, &SECRET]).await.unwrap();
    let ids = [world.enqueue(SECRET, "secret").await, world.enqueue("!other:double.test", "open").await];
    let _worker = world.worker("w1");

    world.assert_settled(&ids).await;

    assert_eq!(world.homeserver.events().iter().map(|event| event.body().to_owned()).collect::<Vec<_>>(), ["open"]);
    let failed = world.log().await.into_iter().find(|row| row.status == "failed").unwrap();
    assert_eq!((failed.outbox_id, failed.error_code.as_deref()), (ids[0], Some("org.odoo.encrypted")), "{failed:?}");
}

/// Another worker sends the account's first encrypted message while encryption is turned off, and this one already has the new configuration.
#[tokio::test]
async fn what_was_encrypted_after_the_configuration_was_read_counts_too() {
    let world = World::new(BINARY).await;
    world.homeserver.room(SECRET, Room { is_encrypted: true, members: vec![PERSON.to_owned()], ..Room::default() });
    let _worker = world.worker("w1");
    let open = world.enqueue("!other:double.test", "open").await;
    world.assert_settled(&[open]).await;
    wrote_encrypted(&world).await;

    let secret = world.enqueue_direct(PERSON, "secret").await;

    world.assert_settled(&[open, secret]).await;
    let row = world.log().await.remove(1);
    assert_eq!((row.outbox_id, row.error_code.as_deref()), (secret, Some("org.odoo.encrypted")), "{row:?}");
    assert_eq!(world.homeserver.rooms_made(), [""; 0]);
}
