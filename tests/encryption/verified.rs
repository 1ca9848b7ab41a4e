//! Devices that their owner has not verified: of a thief, of the homeserver's administrator, or of somebody who does not care.

use std::time::Duration;

use stack::{process::Signal, world::kill};

use crate::{
    delivery::{Office, all, is_plain_ok},
    people::{LENIENT, Reader, STRICT},
};

async fn only_verified(office: &Office) {
    office.world.client.batch_execute("UPDATE matrix_backend SET encryption_devices = 'verified'").await.unwrap();
}

#[tokio::test]
async fn where_only_verified_devices_may_read_others_get_no_key_and_are_named_on_the_delivery() {
    let office = Office::open().await;
    only_verified(&office).await;
    let (anna, ben) = (office.person("anna").await, office.person("ben").await);
    let mut phone = Reader::new(&office.synapse, &anna).await;
    phone.make_signing_keys().await;
    let mut laptop = Reader::new(&office.synapse, &office.synapse.log_in(&anna, "in").await.unwrap()).await;
    let mut of_ben = Reader::new(&office.synapse, &ben).await;
    let room = office.encrypted_room(&[&anna, &ben]).await;
    let alone = office.encrypted_room(&[&ben]).await;
    let _worker = office.worker("w1");

    let sent = office.deliver(&room, "secret").await;

    assert_eq!((sent.status.as_str(), sent.error_code.as_deref()), ("ok", Some("org.odoo.no_key")), "{sent:?}");
    let without =
        format!("delivered; not readable for 1 of 2 devices of {}, 1 of 1 devices of {}", anna.id(), ben.id());
    assert_eq!(sent.error_message, Some(without));
    assert_eq!(phone.read(&room, STRICT).await, all(&["secret"]));
    for reader in [&mut laptop, &mut of_ben] {
        let [Err(reason)] = &reader.read(&room, LENIENT).await[..] else { panic!("it was read") };
        assert!(reason.contains("m.unverified"), "the client can say why: {reason}");
    }

    // Where nobody has verified a device, a message waits until somebody has.
    let held = office.deliver(&alone, "only for you").await;
    assert_eq!((held.is_final, held.error_code.as_deref()), (false, Some("org.odoo.no_key")), "{held:?}");
    assert!(held.error_message.as_ref().unwrap().contains(&format!("1 of 1 devices of {}", ben.id())), "{held:?}");
    of_ben.make_signing_keys().await;
    // The worker hears of it at any time from now on.
    while office.world.log().await.iter().all(|row| row.outbox_id != held.outbox_id || row.status != "ok") {
        office.world.later(0).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(of_ben.read(&alone, STRICT).await, all(&["only for you"]));
}

#[tokio::test]
async fn a_device_that_somebody_adds_to_an_account_is_named_once_and_can_be_kept_from_reading() {
    let office = Office::open().await;
    let anna = office.person("anna").await;
    let mut phone = Reader::new(&office.synapse, &anna).await;
    phone.make_signing_keys().await;
    let room = office.encrypted_room(&[&anna]).await;
    let _worker = office.worker("w1");
    let first = office.deliver(&room, "before").await;
    assert!(is_plain_ok(&first), "{first:?}");

    // As whoever controls the homeserver can do it.
    let mut spy = Reader::new(&office.synapse, &office.synapse.log_in(&anna, "in").await.unwrap()).await;
    let mut bodies = vec!["before".to_owned()];
    let mut next = async || {
        let body = format!("{}", bodies.len());
        assert!(bodies.len() < 100, "the worker does not hear of changes");
        let sent = office.deliver(&room, &body).await;
        bodies.push(body);
        sent
    };
    let named = loop {
        let sent = next().await;
        if !is_plain_ok(&sent) {
            break sent;
        }
    };

    assert_eq!((named.status.as_str(), named.error_code.as_deref()), ("ok", Some("org.odoo.unverified")), "{named:?}");
    let devices = format!("delivered; readable on devices that are not verified: 1 of 2 devices of {}", anna.id());
    assert_eq!(named.error_message, Some(devices));
    let again = next().await;
    assert!(is_plain_ok(&again), "it is named once: {again:?}");
    assert_eq!(spy.read(&room, LENIENT).await.last().unwrap().as_deref(), Ok(&*again.body));

    // The worker notices the change within seconds, and follows the account anew with it.
    let followed: i64 = office.world.client.query_one("SELECT epoch FROM matrix_follower", &[]).await.unwrap().get(0);
    only_verified(&office).await;
    office.world.until(&format!("SELECT epoch > {followed} FROM matrix_follower")).await;
    let last = loop {
        let sent = next().await;
        if !is_plain_ok(&sent) {
            break sent;
        }
    };
    assert_eq!(last.error_message, Some(format!("delivered; not readable for 1 of 2 devices of {}", anna.id())));
    assert!(spy.read(&room, LENIENT).await.last().unwrap().is_err());
    assert_eq!(phone.read(&room, STRICT).await.last().unwrap().as_deref(), Ok(&*last.body));
}

#[tokio::test]
async fn signing_keys_that_were_replaced_are_named_once() {
    let office = Office::open().await;
    only_verified(&office).await;
    let anna = office.person("anna").await;
    let phone = Reader::new(&office.synapse, &anna).await;
    phone.make_signing_keys().await;
    let room = office.encrypted_room(&[&anna]).await;
    let worker = office.worker("w1");
    let first = office.deliver(&room, "before").await;
    assert!(is_plain_ok(&first), "{first:?}");
    worker.stop(Signal::TERM).await.unwrap();

    // Her former device is not signed any more, and another one is.
    let mut spy = Reader::new(&office.synapse, &office.synapse.log_in(&anna, "in").await.unwrap()).await;
    spy.replace_signing_keys("in").await;
    // It is known before the first message, even if the worker that sends it dies before it has written that.
    let after = office.world.enqueue(&room, "after").await;
    let client = &office.world.client;
    client.batch_execute("BEGIN; LOCK TABLE matrix_log IN EXCLUSIVE MODE").await.unwrap();
    let victim = office.worker("w2");
    let waiting = "FROM pg_locks WHERE NOT granted AND relation = 'matrix_log'::regclass";
    office.world.until(&format!("SELECT EXISTS (SELECT {waiting})")).await;
    kill(&victim).await;
    client.query_one(&format!("SELECT bool_and(pg_terminate_backend(pid, 10000)) {waiting}"), &[]).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(office.world.log().await.len(), 1, "it is sent, and no line says so");
    let _worker = office.worker("w3");
    let named = office.until_logged(after).await;

    let text = format!("the signing keys of {} have changed", anna.id());
    assert!(named.status == "ok" && named.error_message.as_ref().unwrap().ends_with(&text), "{named:?}");
    assert_eq!(spy.read(&room, LENIENT).await.last().unwrap().as_deref(), Ok("after"));
    let again = office.deliver(&room, "again").await;
    assert!(!again.error_message.unwrap_or_default().contains("have changed"));
}
