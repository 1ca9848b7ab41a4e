//! Messages that are files: uploaded once, sent once, in their place among the others.

use serde_json::json;
use stack::{
    homeserver::Fault,
    webhook::{self, Webhook},
    world::World,
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";

const OTHER: &str = "!other:double.test";

const AWAY: Fault = Fault::Page { status: 502 };

const PDF: &[u8] = b"%PDF-1.4 \x00\xff not text";

/// A world whose Odoo gives files.
async fn open() -> (World, Webhook) {
    let world = World::new(BINARY).await;
    let odoo = Webhook::start().await.unwrap();
    let sql = "UPDATE matrix_backend SET files_url = $1";
    world.client.execute(sql, &[&odoo.files_url()]).await.unwrap();
    (world, odoo)
}

/// Queues a file, which Odoo has if there are bytes.
async fn enqueue(world: &World, odoo: &Webhook, name: &str, mimetype: &str, bytes: Option<&[u8]>) -> i64 {
    enqueue_in(ROOM, world, odoo, name, mimetype, bytes).await
}

async fn enqueue_in(
    room: &str,
    world: &World,
    odoo: &Webhook,
    name: &str,
    mimetype: &str,
    bytes: Option<&[u8]>,
) -> i64 {
    if let Some(bytes) = bytes {
        odoo.give(name, bytes);
    }
    let size = bytes.map_or(10, <[u8]>::len);
    let content = json!({ "msgtype": "m.text", "body": name, "info": { "mimetype": mimetype, "size": size } });
    let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id, attachment_id)
        VALUES ($1, 'chatter', $2, $3, $4, 7) RETURNING id";
    world.client.query_one(sql, &[&world.backend, &room, &content, &name]).await.unwrap().get(0)
}

#[tokio::test]
async fn files_stand_after_their_text_as_what_they_are() {
    let (world, odoo) = open().await;
    let ids = [
        world.enqueue(ROOM, "Two files:").await,
        enqueue(&world, &odoo, "Vertrag ä.pdf", "application/pdf", Some(PDF)).await,
        enqueue(&world, &odoo, "photo.png", "image/png", Some(b"\x89PNG")).await,
        world.enqueue(ROOM, "That was it.").await,
    ];

    let _worker = world.worker("w1");

    world.assert_settled(&ids).await;
    let events = world.homeserver.events();
    let said: Vec<_> = events.iter().map(|event| (event.content["msgtype"].as_str().unwrap(), event.body())).collect();
    let wanted =
        [("m.text", "Two files:"), ("m.file", "Vertrag ä.pdf"), ("m.image", "photo.png"), ("m.text", "That was it.")];
    assert_eq!(said, wanted);
    let bytes = |place: usize| world.homeserver.file(events[place].content["url"].as_str().unwrap()).unwrap();
    assert_eq!((bytes(1), bytes(2)), (PDF.to_owned(), b"\x89PNG".to_vec()));
    assert_eq!(events[1].content["info"], json!({ "mimetype": "application/pdf", "size": PDF.len() }));
    assert!(odoo.databases().len() == 1, "an Odoo with several databases hears which one is meant");
}

/// PostgreSQL accepts JSON that is nested more deeply than the worker reads.
#[tokio::test]
async fn a_file_whose_content_cannot_be_read_fails_alone() {
    let (world, odoo) = open().await;
    let deep = enqueue(&world, &odoo, "deep.pdf", "application/pdf", Some(PDF)).await;
    let nest = "UPDATE matrix_outbox SET content = content || jsonb_build_object('x', (repeat('[', 200) || repeat(']', 200))::jsonb) WHERE id = $1";
    world.client.execute(nest, &[&deep]).await.unwrap();
    let later = world.enqueue(ROOM, "later").await;

    let _worker = world.worker("w1");

    world.assert_settled(&[deep, later]).await;
    let row = world.log().await.remove(0);
    assert_eq!((row.outbox_id, row.error_code.as_deref(), row.is_final), (deep, Some("M_BAD_JSON"), true), "{row:?}");
    assert_eq!(world.homeserver.bodies(ROOM), ["later"]);
}

/// The same request again: the upload had worked, the event had been accepted.
#[tokio::test]
async fn a_file_whose_answers_are_lost_is_uploaded_once_and_sent_once() {
    let (world, odoo) = open().await;
    world.homeserver.fail_uploads(1, Fault::ResetAccepted);
    world.homeserver.fail_room(ROOM, 1, Fault::ResetAccepted);
    let id = enqueue(&world, &odoo, "a.pdf", "application/pdf", Some(PDF)).await;

    let _worker = world.worker("w1");

    world.assert_settled(&[id]).await;
    assert_eq!(world.homeserver.files(), [PDF]);
    let stored = "SELECT count(*) FROM matrix_upload WHERE is_uploaded AND txn_id = 'a.pdf'";
    assert_eq!(world.client.query_one(stored, &[]).await.unwrap().get::<_, i64>(0), 1);
}

/// The homeserver refuses a second upload also while it stores the first one: a message now would name a file that nobody can open.
#[tokio::test]
async fn a_file_that_is_still_being_stored_is_sent_once_it_is_there() {
    let (world, odoo) = open().await;
    world.homeserver.store_slowly();
    let id = enqueue(&world, &odoo, "a.pdf", "application/pdf", Some(PDF)).await;
    let _worker = world.worker("w1");
    world
        .until("SELECT EXISTS (SELECT FROM matrix_log WHERE NOT is_final AND error_code = 'M_NOT_YET_UPLOADED')")
        .await;
    world.until_resting(ROOM).await;
    assert_eq!(world.homeserver.bodies(ROOM), [""; 0]);

    world.homeserver.have_stored();
    world.later(0).await;

    world.assert_settled(&[id]).await;
    assert_eq!(
        (world.homeserver.bodies(ROOM), world.homeserver.files()),
        (vec!["a.pdf".to_owned()], vec![PDF.to_vec()])
    );
}

/// An outage of the homeserver between upload and event: what is there is not fetched from Odoo again.
#[tokio::test]
async fn a_file_that_was_uploaded_before_is_not_uploaded_again() {
    let (world, odoo) = open().await;
    world.homeserver.fail_sends(Fault::Refuse { status: 503, errcode: "M_UNKNOWN" });
    let id = enqueue(&world, &odoo, "a.pdf", "application/pdf", Some(PDF)).await;
    let worker = world.worker("w1");
    world.until("SELECT EXISTS (SELECT FROM matrix_log WHERE NOT is_final)").await;
    stack::world::kill(&worker).await;
    world.homeserver.heal();

    let _worker = world.worker("w2");

    world.assert_settled(&[id]).await;
    assert_eq!((odoo.given("a.pdf"), world.homeserver.files().len()), (1, 1));
}

#[tokio::test]
async fn an_address_that_has_ended_is_replaced_by_another_one() {
    let (world, odoo) = open().await;
    world.homeserver.fail_uploads(2, AWAY);
    let id = enqueue(&world, &odoo, "a.pdf", "application/pdf", Some(PDF)).await;
    let worker = world.worker("w1");
    world.until("SELECT EXISTS (SELECT FROM matrix_log WHERE NOT is_final)").await;
    assert_eq!(world.homeserver.unused_addresses(), 1);
    world.homeserver.end_addresses();
    stack::world::kill(&worker).await;
    world.client.execute("UPDATE matrix_lane SET retry_at = NULL", &[]).await.unwrap();

    let _worker = world.worker("w2");

    world.assert_settled(&[id]).await;
    assert_eq!(world.homeserver.files(), [PDF]);
}

#[tokio::test]
async fn a_homeserver_that_gives_no_addresses_gets_the_file_at_once() {
    let (world, odoo) = open().await;
    world.homeserver.give_no_addresses();
    let id = enqueue(&world, &odoo, "a.pdf", "application/pdf", Some(PDF)).await;

    let _worker = world.worker("w1");

    world.assert_settled(&[id]).await;
    assert_eq!(world.homeserver.files(), [PDF]);
}

/// Each file has its own line in the log; what cannot go does not stop the rest.
#[tokio::test]
async fn a_file_that_cannot_go_fails_alone_and_says_why() {
    let (world, odoo) = open().await;
    world.homeserver.take_files_up_to(100);
    let ids = [
        world.enqueue(ROOM, "Files:").await,
        enqueue(&world, &odoo, "large.pdf", "application/pdf", Some(&[7; 101])).await,
        enqueue(&world, &odoo, "gone.pdf", "application/pdf", None).await,
        enqueue(&world, &odoo, "good.pdf", "application/pdf", Some(PDF)).await,
    ];

    let _worker = world.worker("w1");

    world.assert_settled(&ids).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["Files:", "good.pdf"]);
    let log = world.log().await;
    assert_eq!(log[1].error_code.as_deref(), Some("M_TOO_LARGE"));
    assert_eq!(log[2].error_code.as_deref(), Some("org.odoo.file"));
    assert!(log[2].error_message.as_deref().unwrap().contains("not in Odoo any more"), "{log:?}");
    assert_eq!((odoo.given("large.pdf"), world.homeserver.files()), (0, vec![PDF.to_vec()]));
}

#[tokio::test]
async fn more_bytes_than_odoo_said_are_not_read() {
    let (world, odoo) = open().await;
    world.homeserver.take_files_up_to(100);
    let id = enqueue(&world, &odoo, "a.pdf", "application/pdf", Some(PDF)).await;
    odoo.give("a.pdf", &[7; 101]);

    let _worker = world.worker("w1");

    world.assert_settled(&[id]).await;
    assert_eq!(world.homeserver.files(), [] as [Vec<u8>; 0]);
    assert_eq!(world.log().await[0].error_code.as_deref(), Some("org.odoo.file"));
}

/// A homeserver gives an account only a few addresses that nothing was uploaded to yet, and says to come back in a day.
#[tokio::test]
async fn files_of_many_rooms_and_files_that_odoo_lacks_use_up_no_addresses() {
    let (world, odoo) = open().await;
    let mut ids = Vec::new();
    for number in 0..6 {
        let room = format!("!room{number}:double.test");
        ids.push(enqueue_in(&room, &world, &odoo, &format!("gone{number}.pdf"), "application/pdf", None).await);
        ids.push(enqueue_in(&room, &world, &odoo, &format!("{number}.pdf"), "application/pdf", Some(PDF)).await);
    }

    let _worker = world.worker("w1");

    world.assert_settled(&ids).await;
    assert_eq!((world.homeserver.files().len(), world.homeserver.unused_addresses()), (6, 0));
}

/// A minute of Odoo's own comes after an outage of the homeserver, as after an upgrade of both.
#[tokio::test]
async fn odoo_has_its_ten_minutes_however_long_the_homeserver_has_failed_before() {
    let (world, odoo) = open().await;
    world.homeserver.fail_uploads(2, AWAY);
    let id = enqueue(&world, &odoo, "a.pdf", "application/pdf", Some(PDF)).await;
    let _worker = world.worker("w1");
    world.until_resting(ROOM).await;

    odoo.fail_always(webhook::Fault::Status(503));
    for seconds in [601, 500, 60] {
        let epoch = world.client.query_one("SELECT epoch FROM matrix_lane", &[]).await.unwrap().get::<_, i64>(0);
        world.later(seconds).await;
        world.until(&format!("SELECT epoch > {epoch} AND retry_at IS NOT NULL FROM matrix_lane")).await;
    }
    odoo.heal();
    world.later(0).await;

    world.assert_settled(&[id]).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["a.pdf"]);
    assert_eq!(world.log().await.last().unwrap().status, "ok");
}

/// With ten minutes for each, which begin anew whenever the other one fails, its room would wait for ever.
#[tokio::test]
async fn a_file_that_odoo_and_the_homeserver_refuse_in_turn_is_given_up() {
    let (world, odoo) = open().await;
    world.homeserver.fail_uploads(2, AWAY);
    let id = enqueue(&world, &odoo, "a.pdf", "application/pdf", Some(PDF)).await;
    let _worker = world.worker("w1");
    world.until_resting(ROOM).await;
    let next_try = async |seconds: i32| {
        let epoch = world.client.query_one("SELECT epoch FROM matrix_lane", &[]).await.unwrap().get::<_, i64>(0);
        world.later(seconds).await;
        world.until(&format!("SELECT epoch > {epoch} AND retry_at IS NOT NULL FROM matrix_lane")).await;
    };

    // The homeserver has failed for an hour.
    let an_hour_ago = "UPDATE matrix_outbox SET queued_at = queued_at - interval '1 hour';
        UPDATE matrix_log SET date = date - interval '1 hour'";
    world.client.batch_execute(an_hour_ago).await.unwrap();
    odoo.fail_always(webhook::Fault::Status(503));
    next_try(3600).await;
    odoo.heal();
    world.homeserver.fail_uploads(2, AWAY);
    next_try(300).await;
    odoo.fail_always(webhook::Fault::Status(503));
    world.later(301).await;

    world.assert_settled(&[id]).await;
    assert_eq!(world.log().await.last().unwrap().error_code.as_deref(), Some("org.odoo.file"));
}

/// Files may be kept by a part of the homeserver that is away by itself.
#[tokio::test]
async fn a_homeserver_that_takes_no_files_holds_up_their_rooms_only_and_for_a_bounded_time() {
    let (world, odoo) = open().await;
    world.homeserver.fail_uploads(100, AWAY);
    let mut files = Vec::new();
    for room in [ROOM, OTHER] {
        files.push(enqueue_in(room, &world, &odoo, room, "application/pdf", Some(PDF)).await);
        files.push(world.enqueue(room, "after it").await);
    }
    let _worker = world.worker("w1");
    world.until("SELECT count(*) = 2 FROM matrix_lane WHERE first_failed_at IS NOT NULL AND lease_until IS NULL").await;

    files.push(world.enqueue("!third:double.test", "a text").await);

    world.homeserver.until("the third room's message", |double| double.last_body("!third:double.test").is_some()).await;
    assert_ne!(world.state().await.as_deref(), Some("down"));
    assert_eq!(world.homeserver.bodies(ROOM), [""; 0]);
    world.later(601).await;
    world.assert_settled(&files).await;
    assert_eq!(
        (world.homeserver.bodies(ROOM), world.homeserver.bodies(OTHER)),
        (vec!["after it".to_owned()], vec!["after it".to_owned()])
    );
}
