//! A real homeserver: what people see of direct messages, what it answers about accounts that do not exist, and what it
//! returns to a client that follows the account.

use std::time::{Duration, Instant};

use odoo_matrix_worker::matrix::{Acting, Homeserver};
use serde_json::json;
use stack::{
    synapse::{Options, Synapse, User},
    webhook::{Fault, Webhook},
    world::{LogRow, World},
};

use crate::BINARY;

/// Nothing listens there.
const DOWN: &str = "down.localhost:1";

/// A real homeserver may take seconds on a busy machine; the double answers at once.
const PATIENT: [(&str, &str); 2] = [("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")];

async fn join(options: Options) -> (World, Synapse, User) {
    let synapse = Synapse::start(Options { unlimited: true, ..options }).await.unwrap();
    let bot = synapse.register("odoo", "let me in", false).await.unwrap();
    let world = World::new(BINARY).await;
    let sql = "UPDATE matrix_backend SET homeserver_url = $1, token_sealed = 'plain:' || $2";
    world.client.execute(sql, &[&synapse.url(), &bot.token()]).await.unwrap();
    (world, synapse, bot)
}

/// Queues a message and returns its last log row when there is one.
async fn deliver(world: &World, person: &str, body: &str) -> LogRow {
    let id = world.enqueue_direct(person, body).await;
    world.until(&format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {id})")).await;
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;
    world.log().await.pop().unwrap()
}

async fn bodies(user: &User, room: &str) -> Vec<String> {
    user.messages(room).await.unwrap().iter().map(|event| event.body().to_owned()).collect()
}

#[tokio::test]
async fn a_direct_message_reaches_its_person_in_one_room_on_a_real_homeserver() {
    let (world, synapse, bot) = join(Options { neighbour: Some(DOWN), ..Options::default() }).await;
    let worker = world.worker_with("w1", &PATIENT);
    let jane = synapse.register("jane", "let me in", false).await.unwrap();

    // A new person: invited to one room, which their client files as direct, and sees the message after joining.
    assert_eq!(deliver(&world, jane.id(), "first").await.status, "ok");
    let invitations = jane.invitations().await.unwrap();
    let [(room, true)] = invitations.as_slice() else { panic!("one direct invitation: {invitations:?}") };
    jane.join(room).await.unwrap();
    assert_eq!(bodies(&jane, room).await, ["first"]);
    assert_eq!(bot.direct().await.unwrap(), json!({ jane.id(): [room] }));
    let logged =
        world.client.query_one("SELECT event_type, matrix_user_id, room_id FROM matrix_log", &[]).await.unwrap();
    let logged: (String, String, String) = (logged.get(0), logged.get(1), logged.get(2));
    assert_eq!(logged, ("dm".to_owned(), jane.id().to_owned(), room.clone()));

    // A fresh worker, and a database that has forgotten the room.
    drop(worker);
    world.client.batch_execute("DELETE FROM matrix_lane").await.unwrap();
    let _worker = world.worker_with("w2", &PATIENT);
    assert_eq!(deliver(&world, jane.id(), "second").await.status, "ok");
    assert_eq!(bodies(&jane, room).await, ["first", "second"]);

    // A person who leaves is invited again.
    jane.leave(room).await.unwrap();
    assert_eq!(deliver(&world, jane.id(), "third").await.status, "ok");
    assert_eq!(jane.invitations().await.unwrap(), [(room.clone(), true)]);
    assert_eq!(bot.rooms().await.unwrap(), std::slice::from_ref(room));

    // A room that was made by hand and marked as direct.
    let joe = synapse.register("joe", "let me in", false).await.unwrap();
    let by_hand = joe.create_room("Joe and Odoo", &[&bot]).await.unwrap();
    bot.join(&by_hand).await.unwrap();
    bot.set_direct(&json!({ jane.id(): [room], joe.id(): [by_hand], "org.example": null })).await.unwrap();
    assert_eq!(deliver(&world, joe.id(), "hello").await.status, "ok");
    assert_eq!(bodies(&joe, &by_hand).await, ["hello"]);
    assert_eq!(bot.rooms().await.unwrap().len(), 2);

    // Nobody, and an account that was closed and erased.
    let admin = synapse.register("admin", "let me in", true).await.unwrap();
    let gone = synapse.register("gone", "let me in", false).await.unwrap();
    synapse.erase(&admin, &gone).await.unwrap();
    for person in ["@tpyo:matrix.localhost", gone.id()] {
        let row = deliver(&world, person, "to nobody").await;
        assert_eq!((row.is_final, row.error_code.as_deref()), (true, Some("org.odoo.no_such_user")), "{row:?}");
    }
    assert_eq!(bot.rooms().await.unwrap().len(), 2);

    // A person whose server is down waits; nobody else does.
    let far = format!("@far:{DOWN}");
    let row = deliver(&world, &far, "some day").await;
    assert_eq!((row.status.as_str(), row.is_final), ("failed", false), "{row:?}");
    assert!(row.error_message.unwrap().contains("is tried again until down.localhost:1 answers"));
    assert_eq!(deliver(&world, jane.id(), "fourth").await.status, "ok");
    world
        .until(
            "SELECT EXISTS (SELECT FROM matrix_lane WHERE lane LIKE '%@far:%' AND epoch >= 2 AND lease_until IS NULL)",
        )
        .await;
    assert_eq!(bot.rooms().await.unwrap().len(), 3, "one room for the person, however often they are invited");
    assert_ne!(world.state().await.as_deref(), Some("down"));

    // A server that ours may not talk to.
    let row = deliver(&world, "@x:forbidden.localhost", "never").await;
    assert!(row.is_final && row.error_message.as_ref().unwrap().contains("cannot be invited"), "{row:?}");

    // As a worker of contract 12 asks after the upgrade: it names an account and a device, and shows the account's own token.
    let asked = Homeserver::new(synapse.url(), bot.token().into(), true, Duration::from_secs(10)).unwrap();
    let (token, user, device) = (bot.token().into(), bot.id().to_owned(), "SERVICE".to_owned());
    let whoami = asked.acting(Acting { token, user, device }).unwrap().whoami().await.unwrap();
    assert_eq!((whoami.user_id.as_str(), whoami.device_id.as_deref()), (bot.id(), Some(bot.device_id())));
    let sql = "UPDATE matrix_backend SET appservice_token_sealed = token_sealed, appservice_user_id = $1, appservice_device_id = 'SERVICE'";
    world.client.execute(sql, &[&bot.id()]).await.unwrap();
    jane.join(room).await.unwrap();
    assert_eq!(deliver(&world, jane.id(), "fifth").await.status, "ok");
    assert_eq!(bodies(&jane, room).await.last().map(String::as_str), Some("fifth"));
}

#[tokio::test]
async fn a_real_homeserver_that_encrypts_every_new_room_gets_one_room() {
    let (world, synapse, bot) = join(Options { encrypts_new_rooms: true, ..Options::default() }).await;
    let jane = synapse.register("jane", "let me in", false).await.unwrap();
    let _worker = world.worker_with("w1", &PATIENT);

    for body in ["one", "two", "three"] {
        let row = deliver(&world, jane.id(), body).await;
        assert_eq!((row.is_final, row.error_code.as_deref()), (true, Some("org.odoo.encrypted")), "{row:?}");
        assert!(row.error_message.unwrap().starts_with("the homeserver encrypts every new room"));
    }

    assert_eq!(bot.rooms().await.unwrap().len(), 1);
    assert_eq!(jane.invitations().await.unwrap(), []);
}

#[tokio::test]
async fn what_people_write_on_a_real_homeserver_reaches_odoo_once_and_in_order() {
    let (world, synapse, bot) = join(Options::default()).await;
    let anna = synapse.register("anna", "let me in", false).await.unwrap();
    anna.set_display_name("Anna Kraus").await.unwrap();
    let room = anna.create_room("Case", &[&bot]).await.unwrap();
    bot.join(&room).await.unwrap();
    anna.send(&room, "before").await.unwrap();
    let webhook = Webhook::start().await.unwrap();
    world.follow(&webhook).await;
    let worker = world.worker_with("w1", &PATIENT);
    world.until_followed().await;

    let sent = Instant::now();
    anna.send(&room, "text 1").await.unwrap();
    webhook.until_events(1).await;
    assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
    bot.send(&room, "own").await.unwrap();
    assert_eq!(webhook.name(anna.id()).as_deref(), Some("Anna Kraus"));

    // More than one answer holds, while Odoo cannot accept it.
    webhook.fail_always(Fault::Reset);
    for number in 2..=160 {
        anna.send(&room, &format!("text {number}")).await.unwrap();
        if number % 40 == 0 {
            bot.send(&room, "own").await.unwrap();
        }
    }
    webhook.heal();
    webhook.until_events(160).await;
    let wanted: Vec<_> = (1..=160).map(|number| format!("text {number}")).collect();
    assert_eq!(webhook.bodies(&room), wanted);

    // A room that the account comes into while it is followed, and a worker that was away.
    let other = anna.create_room("Other", &[&bot]).await.unwrap();
    bot.join(&other).await.unwrap();
    anna.send(&other, "hello").await.unwrap();
    webhook.until("the other room", |webhook| webhook.bodies(&other) == ["hello"]).await;
    drop(worker);
    anna.send(&other, "while away").await.unwrap();
    let _worker = world.worker_with("w2", &PATIENT);
    webhook.until("what was written meanwhile", |webhook| webhook.bodies(&other) == ["hello", "while away"]).await;
    assert_eq!(webhook.bodies(&room), wanted);
}
