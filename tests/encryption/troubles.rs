//! What goes wrong with keys holds up encrypted rooms for as long as it lasts, or for ten minutes, and nothing else.

use stack::{process::Signal, relay::Relay, synapse::User, world::LogRow};

use crate::{
    delivery::{Office, all, is_plain_ok},
    people::{LENIENT, Reader, STRICT},
};

/// Lets the worker reach the homeserver through a relay.
async fn through_a_relay(office: &Office) -> Relay {
    let relay = Relay::start(office.synapse.url()).await.unwrap();
    office.world.client.execute("UPDATE matrix_backend SET homeserver_url = $1", &[&relay.url()]).await.unwrap();
    relay
}

/// As if the messages that wait had done so for eleven minutes.
async fn eleven_minutes_later(office: &Office) {
    let earlier = "UPDATE matrix_outbox SET queued_at = queued_at - interval '11 minutes'";
    office.world.client.batch_execute(earlier).await.unwrap();
    office.world.later(660).await;
}

async fn finals(office: &Office) -> Vec<LogRow> {
    office.world.log().await.into_iter().filter(|row| row.is_final).collect()
}

#[tokio::test]
async fn trouble_with_the_database_fails_no_message_even_if_none_is_kept_during_outages() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let plain = anna.create_room("Open", &[]).await.unwrap();
    let mut reader = Reader::new(&office.synapse, &anna).await;
    let client = &office.world.client;
    let sql = "UPDATE matrix_backend SET hold_on_outage = false";
    client.batch_execute(sql).await.unwrap();
    let sql = "INSERT INTO matrix_encrypted_room (backend_id, room_id) VALUES ($1, $2)";
    client.execute(sql, &[&office.world.backend, &room]).await.unwrap();
    let role = office.world.launch.role();
    client.batch_execute(&format!("REVOKE SELECT ON matrix_crypto_item FROM \"{role}\"")).await.unwrap();
    let _worker = office.worker("w1");
    office.world.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'stopped')").await;

    let id = office.world.enqueue(&room, "secret").await;
    // A room that the account may not write in: this is claimed after the other one, and fails.
    office.deliver(&plain, "refused").await;
    assert!(office.world.log().await.iter().all(|row| row.outbox_id != id), "{:?}", office.world.log().await);

    client.batch_execute(&format!("GRANT SELECT ON matrix_crypto_item TO \"{role}\"")).await.unwrap();
    office.world.until_empty().await;
    assert_eq!(reader.read(&room, STRICT).await, all(&["secret"]));
}

#[tokio::test]
async fn what_a_homeserver_refuses_about_keys_is_given_up_after_ten_minutes_and_other_rooms_go_on() {
    let office = Office::open().await;
    let relay = through_a_relay(&office).await;
    let (anna, ben) = (office.person("anna").await, office.person("ben").await);
    let mut phone = Reader::new(&office.synapse, &ben).await;
    let _laptop = Reader::new(&office.synapse, &anna).await;
    let (room, other) = (office.encrypted_room(&[&anna]).await, office.encrypted_room(&[&ben]).await);
    let _worker = office.worker("w1");
    assert!(is_plain_ok(&office.deliver(&other, "before").await));

    // What Synapse gets is not JSON.
    relay.alter("/keys/claim", "{\"one_time_keys\"", "[\"one_time_keys\"");
    let held = office.deliver(&room, "secret").await;
    assert!(held.status == "failed" && !held.is_final, "{held:?}");
    office.world.until_resting(&room).await;
    assert!(is_plain_ok(&office.deliver(&other, "after").await));
    eleven_minutes_later(&office).await;
    office.world.until_empty().await;

    let failed = finals(&office).await.into_iter().find(|row| row.status == "failed").unwrap();
    assert_eq!((failed.outbox_id, failed.error_code), (held.outbox_id, held.error_code));
    relay.heal();
    assert!(is_plain_ok(&office.deliver(&room, "next").await));
    assert_eq!(phone.read(&other, STRICT).await, all(&["before", "after"]));
}

#[tokio::test]
async fn what_a_homeserver_refuses_about_the_accounts_own_keys_fails_no_message() {
    let office = Office::open().await;
    let relay = through_a_relay(&office).await;
    let anna = office.person("anna").await;
    let mut phone = Reader::new(&office.synapse, &anna).await;
    let room = office.encrypted_room(&[&anna]).await;
    let worker = office.worker("w1");
    assert!(is_plain_ok(&office.deliver(&room, "before").await));
    worker.stop(Signal::TERM).await.unwrap();

    // What Synapse gets is not JSON. Nobody can open the account's device.
    relay.alter("/keys/query", "{\"device_keys\"", "[\"device_keys\"");
    let _worker = office.worker("w2");
    let held = office.world.enqueue(&room, "secret").await;
    office.world.until_resting(&room).await;
    eleven_minutes_later(&office).await;
    office.world.until_resting(&room).await;
    assert!(finals(&office).await.iter().all(|row| row.outbox_id != held));

    office.world.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'stopped')").await;
    relay.heal();
    office.world.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE state IS DISTINCT FROM 'stopped')").await;
    office.world.later(0).await;
    office.world.until_empty().await;
    assert_eq!(phone.read(&room, STRICT).await, all(&["before", "secret"]));
}

#[tokio::test]
async fn the_ten_minutes_for_keys_do_not_include_an_outage_before() {
    let office = Office::open().await;
    let carl = office.person("carl").await;
    let room = office.encrypted_room(&[&carl]).await;
    let _worker = office.worker("w1");
    office.deliver(&room, "one").await;
    office.world.until_resting(&room).await;
    // As if the homeserver had been away until now.
    let away = "UPDATE matrix_lane SET last_error = 'no connection (org.odoo.unreachable)'";
    office.world.client.batch_execute(away).await.unwrap();

    eleven_minutes_later(&office).await;
    office.world.until("SELECT EXISTS (SELECT FROM matrix_lane WHERE last_error LIKE '%(org.odoo.no_key)')").await;
    office.world.until_resting(&room).await;
    assert!(finals(&office).await.is_empty());

    eleven_minutes_later(&office).await;
    office.world.until_empty().await;
    assert_eq!(finals(&office).await.len(), 1);
}

#[tokio::test]
async fn what_nobody_in_a_room_can_read_is_given_up_together() {
    let office = Office::open().await;
    let carl = office.person("carl").await;
    let room = office.encrypted_room(&[&carl]).await;
    let _worker = office.worker("w1");
    let first = office.deliver(&room, "one").await;
    assert!(!first.is_final, "{first:?}");
    office.world.until_resting(&room).await;
    for body in ["two", "three"] {
        office.world.enqueue(&room, body).await;
    }

    eleven_minutes_later(&office).await;
    office.world.until_empty().await;

    let finals = finals(&office).await;
    assert!(finals.iter().all(|row| row.error_code.as_deref() == Some("org.odoo.no_key")), "{finals:?}");
    assert_eq!(finals.iter().map(|row| row.body.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]);
}

#[tokio::test]
async fn a_device_that_is_not_verified_gives_no_keys_where_only_verified_ones_may_read_and_says_so() {
    let office = Office::open().await;
    Reader::new(&office.synapse, &office.synapse.log_in(&office.bot, "let me in").await.unwrap())
        .await
        .make_signing_keys()
        .await;
    office.world.client.batch_execute("UPDATE matrix_backend SET encryption_devices = 'verified'").await.unwrap();
    let anna = office.person("anna").await;
    let room = office.encrypted_room(&[&anna]).await;
    let _worker = office.worker("w1");

    let held = office.deliver(&room, "secret").await;

    assert_eq!((held.is_final, held.error_code.as_deref()), (false, Some("org.odoo.encryption")));
    assert!(held.error_message.as_ref().unwrap().contains("«Verify Device»"), "{held:?}");
}

#[tokio::test]
async fn a_direct_room_that_was_made_without_encryption_is_left_and_gets_nothing() {
    let office = Office::open().await;
    let relay = through_a_relay(&office).await;
    office.world.client.batch_execute("UPDATE matrix_backend SET encrypt_new_rooms = true").await.unwrap();
    let ben = office.person("ben").await;
    let _phone = Reader::new(&office.synapse, &ben).await;
    let worker = office.worker("w1");
    office.world.enqueue_direct(ben.id(), "one").await;
    office.world.until_empty().await;
    let [(room, true)] = &ben.invitations().await.unwrap()[..] else { panic!("one direct room") };
    worker.stop(Signal::TERM).await.unwrap();

    // The room is gone, and the homeserver does not do what it is asked.
    office.bot.leave(room).await.unwrap();
    relay.alter("createRoom", "m.room.encryption", "m.room.encryptiox");
    for body in ["two", "three"] {
        office.world.enqueue_direct(ben.id(), body).await;
    }
    let _worker = office.worker("w2");
    office.world.until_empty().await;

    let failed: Vec<_> = finals(&office).await.into_iter().filter(|row| row.status == "failed").collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|row| row.error_message.as_ref().unwrap().contains("made a room for them that is not")));
    assert_eq!(office.bot.rooms().await.unwrap(), [""; 0]);
}

/// Says that Odoo's webhook cannot be used, so that only the device is read for.
async fn without_a_webhook(office: &Office) {
    let wrong =
        "UPDATE matrix_backend SET inbound_mode = 'follow', inbound_url = 'nowhere', inbound_secret_sealed = 'plain:x'";
    office.world.client.batch_execute(wrong).await.unwrap();
}

#[tokio::test]
async fn a_homeserver_that_is_away_is_reported_also_if_nothing_can_be_passed_on_to_odoo() {
    let office = Office::open().await;
    without_a_webhook(&office).await;
    let _worker = office.worker("w1");
    office.world.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'waiting')").await;

    office.synapse.process().signal(Signal::STOP).unwrap();
    office.world.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'stopped')").await;
    office.synapse.process().signal(Signal::CONT).unwrap();

    office.world.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'waiting')").await;
}

/// Makes the follower go on from a position that the homeserver does not know.
async fn with_a_forgotten_position(office: &Office, anna: &User) {
    let room = office.encrypted_room(&[anna]).await;
    let mut phone = Reader::new(&office.synapse, anna).await;
    let worker = office.worker("w1");
    office.deliver(&room, "one").await;
    worker.stop(Signal::TERM).await.unwrap();
    let sql = "UPDATE matrix_follower SET matrix_user_id = $1, since = 'forgotten'";
    assert_eq!(office.world.client.execute(sql, &[&office.bot.id()]).await.unwrap(), 1);
    // What the homeserver would tell after the position.
    let mut laptop = Reader::new(&office.synapse, &office.synapse.log_in(anna, "in").await.unwrap()).await;

    let _worker = office.worker("w2");

    office.deliver(&room, "two").await;
    assert_eq!(laptop.read(&room, LENIENT).await.pop().unwrap().as_deref(), Ok("two"));
    assert_eq!(phone.read(&room, STRICT).await, all(&["one", "two"]));
    // Another device, about which only the homeserver's stream tells.
    let mut tablet = Reader::new(&office.synapse, &office.synapse.log_in(anna, "in").await.unwrap()).await;
    let mut bodies = 2;
    while tablet.read(&room, LENIENT).await.last().unwrap().is_err() {
        bodies += 1;
        assert!(bodies < 100, "the worker does not hear of devices");
        office.deliver(&room, &bodies.to_string()).await;
    }
}

#[tokio::test]
async fn devices_are_heard_of_again_after_the_homeserver_has_forgotten_the_position() {
    let office = Office::open().await;
    let odoo = stack::webhook::Webhook::start().await.unwrap();
    office.world.follow(&odoo).await;
    with_a_forgotten_position(&office, &office.person("anna").await).await;
}

#[tokio::test]
async fn and_also_if_nothing_can_be_passed_on_to_odoo() {
    let office = Office::open().await;
    without_a_webhook(&office).await;
    with_a_forgotten_position(&office, &office.person("anna").await).await;
}
