//! Rooms that replaced one another while nobody read.

use serde_json::json;
use stack::process::Signal;

use crate::follower::{ANNA, followed, say};

/// One room after the other, the names in the other direction: Odoo knows the record of a room by what the rooms before it have said.
#[tokio::test]
async fn rooms_that_replaced_one_another_while_the_worker_was_dead_reach_odoo_in_that_order() {
    const ROOMS: [&str; 4] = ["!d:double.test", "!c:double.test", "!b:double.test", "!a:double.test"];
    let (world, webhook) = followed().await;
    let worker = world.worker("w1");
    world.until_followed().await;
    worker.stop(Signal::KILL).await.unwrap();

    for (room, news) in ROOMS.iter().zip(ROOMS.iter().skip(1).map(Some).chain([None])) {
        say(&world, room, "text", [1]);
        if let Some(news) = news {
            world.homeserver.tell(room, ANNA, "m.room.tombstone", json!({ "replacement_room": news }));
        }
    }
    let _worker = world.worker("w1");

    webhook.until_events(7).await;
    let mut rooms: Vec<_> =
        webhook.events().iter().map(|event| event["room_id"].as_str().unwrap().to_owned()).collect();
    rooms.dedup();
    assert_eq!(rooms, ROOMS);
}
