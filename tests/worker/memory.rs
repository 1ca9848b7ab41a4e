//! A homeserver remembers transaction ids for one device: messages tried under another one are looked for first.

use stack::{homeserver::Fault, world::World};

use crate::BINARY;

/// As Odoo marks each message.
const MARK: &str = "UPDATE matrix_outbox SET content = content || jsonb_build_object('org.odoo.outbox', txn_id)";

#[tokio::test]
async fn a_token_replaced_while_answers_were_lost_doubles_no_message() {
    let world = World::new(BINARY).await;
    let rooms: Vec<_> = (0..20).map(|number| format!("!room{number}:double.test")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    world.homeserver.fail_sends(Fault::SilenceAccepted);
    let ids = world.enqueue_many(&rooms, "message", 2).await;
    world.client.execute(MARK, &[]).await.unwrap();
    let _worker = world.worker("w1");
    world.homeserver.until_events(rooms.len()).await;
    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'down')").await;
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;

    // Another device, as after a new token.
    world.homeserver.forget_transactions();
    world.homeserver.heal();
    world.client.execute("UPDATE matrix_backend SET homeserver_url = homeserver_url || '/'", &[]).await.unwrap();

    world.assert_settled(&ids).await;
    world.assert_in_order(&rooms, "message", 2);
}

/// A Retry keeps the transaction id and the time at which the message was queued, and may come long after.
#[tokio::test]
async fn a_retry_under_another_address_finds_what_arrived_under_the_first_one() {
    let world = World::new(BINARY).await;
    let id = world.enqueue("!case:double.test", "once").await;
    world.client.execute(MARK, &[]).await.unwrap();
    world.client.execute("CREATE TABLE kept AS SELECT * FROM matrix_outbox", &[]).await.unwrap();
    let _worker = world.worker("w1");
    world.assert_settled(&[id]).await;
    let other_device = "UPDATE matrix_backend SET homeserver_url = homeserver_url || '/';
        UPDATE matrix_backend SET configured_at = configured_at - interval '2 h';
        INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id, queued_at)
        SELECT backend_id, event_type, room_id, content, txn_id, queued_at - interval '3 h' FROM kept";
    world.homeserver.forget_transactions();

    world.client.batch_execute(other_device).await.unwrap();
    world.until_empty().await;

    assert_eq!(world.homeserver.bodies("!case:double.test"), ["once"]);
}
