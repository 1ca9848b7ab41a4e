//! A worker that was built without encryption, for a backend on which it is set up: it refuses what it cannot encrypt, and does not follow
//! the account for its keys.

use serde_json::json;
use stack::{homeserver::Room, world::World};

use crate::{
    BINARY,
    direct::PERSON,
    encrypted_before::{SECRET, refused, wrote_encrypted},
    room_checks::{ROOM, agreed, encrypted, record},
};

const SET_UP: &str = "UPDATE matrix_backend SET encryption_mode = 'encrypt'";

/// Where another worker would encrypt.
#[tokio::test]
async fn it_leaves_direct_messages_to_those_that_have_it() {
    let secret = Room { is_encrypted: true, members: vec![PERSON.to_owned()], ..Room::default() };
    for case in ["wrote before", "has a room", "has a listed room", "would get one"] {
        let world = World::new(BINARY).await;
        world.client.batch_execute(SET_UP).await.unwrap();
        match case {
            "wrote before" => wrote_encrypted(&world).await,
            "has a room" => {
                world.homeserver.room(SECRET, secret.clone());
                let sql = "INSERT INTO matrix_lane (lane, room_id) VALUES ($1, $2)";
                let lane = format!("{}/{PERSON}", world.backend);
                world.client.execute(sql, &[&lane, &SECRET]).await.unwrap();
            }
            "has a listed room" => {
                world.homeserver.room(SECRET, secret.clone());
                world.homeserver.set_direct(json!({ PERSON: [SECRET] }));
            }
            _ => world.client.batch_execute("UPDATE matrix_backend SET encrypt_new_rooms = true").await.unwrap(),
        }

        let why = refused(&world).await;

        assert!(why.contains("built without it"), "{case}: {why}");
    }
}

#[tokio::test]
async fn consent_does_not_count_once_encryption_is_set_up() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, encrypted());
    record(&world, true).await;
    world.client.batch_execute(SET_UP).await.unwrap();
    let id = agreed(&world, ROOM, "agreed").await;

    let _worker = world.worker("w1");

    world.assert_settled(&[id]).await;
    assert_eq!(world.homeserver.count(), 0);
}

/// Nobody follows the account any more, neither for what is written nor for its keys.
#[tokio::test]
async fn what_is_written_after_following_was_turned_off_is_not_passed_on_later_also_if_encryption_is_set_up() {
    let world = World::new(BINARY).await;
    let sql = "INSERT INTO matrix_follower (backend_id, matrix_user_id, since) SELECT id, '@bot:double.test', 's1' FROM matrix_backend";
    world.client.batch_execute(&format!("{SET_UP}; {sql}")).await.unwrap();

    let _worker = world.worker("w1");

    world.until("SELECT NOT EXISTS (SELECT FROM matrix_follower)").await;
}
