//! The homeserver sends Odoo what is written, and forgets some of it when it ends: the worker makes up for that.

use stack::{
    homeserver,
    process::Signal,
    webhook::{self, Webhook},
    world::World,
};

use crate::{
    BINARY,
    check::check,
    follower::{MODES, ROOM, say},
};

async fn served_by_the_homeserver() -> (World, Webhook) {
    let world = World::new(BINARY).await;
    let webhook = Webhook::start().await.unwrap();
    world.follow(&webhook).await;
    world.client.batch_execute("UPDATE matrix_backend SET inbound_mode = 'appservice'").await.unwrap();
    (world, webhook)
}

/// A stall of this machine must not break the reading off.
const PATIENT: [(&str, &str); 2] = [("HTTP_TIMEOUT_SECONDS", "10"), ("WORKER_LEASE_SECONDS", "30")];

/// Waits until the worker waits for news, and knows all that was said.
async fn until_read(world: &World) {
    world.homeserver.until("a worker that has read everything", homeserver::Homeserver::is_read).await;
}

#[tokio::test]
async fn the_worker_leaves_all_to_the_homeserver_until_the_reading_breaks_off() {
    let (world, webhook) = served_by_the_homeserver().await;
    say(&world, ROOM, "before", 1..=2);
    let _worker = world.worker_with("w1", &PATIENT);
    world.until_followed().await;
    until_read(&world).await;
    say(&world, ROOM, "text", 1..=3);
    until_read(&world).await;
    assert_eq!((webhook.posts(), webhook.knocks()), (0, 0));

    world.homeserver.fail_reading(homeserver::Fault::Reset);
    webhook.until_events(3).await;
    until_read(&world).await;
    say(&world, ROOM, "text", 4..=5);
    until_read(&world).await;

    assert_eq!(webhook.bodies(ROOM), ["text 1", "text 2", "text 3"]);
    world.homeserver.fail_reading(homeserver::Fault::Page { status: 502 });
    webhook.until_events(5).await;
    assert_eq!(webhook.bodies(ROOM)[3..], ["text 4", "text 5"]);
    assert_eq!(webhook.repeated(), 0, "Odoo has had the first ones, whichever way");
    let path = "/mail_matrix/inbound/1/_matrix/app/v1/transactions/worker";
    assert_eq!(webhook.paths().into_iter().collect::<Vec<_>>(), [format!("PUT {path}")]);
}

#[tokio::test]
async fn a_worker_that_starts_again_passes_on_what_was_written_meanwhile_unless_it_is_old() {
    let (world, webhook) = served_by_the_homeserver().await;
    let restarted = async |age: &str, text: &str| {
        let worker = world.worker_with("w1", &PATIENT);
        world.until_followed().await;
        until_read(&world).await;
        worker.stop(Signal::KILL).await.unwrap();
        say(&world, ROOM, text, [1]);
        let older = format!("UPDATE matrix_follower SET synced_at = synced_at - interval '{age}', lease_until = NULL");
        world.client.batch_execute(&older).await.unwrap();
    };

    restarted("13 hours", "old").await;
    restarted("11 hours", "young").await;
    let _worker = world.worker_with("w1", &PATIENT);

    webhook.until_events(1).await;
    assert_eq!(webhook.bodies(ROOM), ["young 1"]);
}

#[tokio::test]
async fn what_is_written_while_odoo_does_not_answer_is_passed_on_too() {
    let (world, webhook) = served_by_the_homeserver().await;
    let _worker = world.worker_with("w1", &PATIENT);
    world.until_followed().await;
    until_read(&world).await;
    say(&world, ROOM, "text", [1]);
    until_read(&world).await;
    webhook.fail_always(webhook::Fault::Status(500));
    world.homeserver.fail_reading(homeserver::Fault::Reset);
    webhook.until("a call that fails", |webhook| webhook.posts() >= 1).await;

    world.until("SELECT state = 'waiting' FROM matrix_follower").await;
    let (findings, code) = check(&world, &[]).await;
    let texts: Vec<_> = findings.iter().filter_map(|finding| finding["text"].as_str()).collect();
    assert!(texts.iter().any(|text| text.starts_with("what the homeserver forgets cannot be passed on")), "{texts:?}");
    assert_eq!(code, Some(0), "messages reach Odoo: {texts:?}");

    // The homeserver may have been restarted after this: the worker, which waits for Odoo, would not notice.
    say(&world, ROOM, "text", [2]);
    webhook.heal();

    webhook.until_events(2).await;
    assert_eq!(webhook.bodies(ROOM), ["text 1", "text 2"]);
}

/// Odoo takes one call at a time, and the homeserver may be calling it.
#[tokio::test]
async fn that_odoo_is_busy_is_not_reported() {
    for mode in MODES {
        let (world, webhook) = served_by_the_homeserver().await;
        let set_up = format!("UPDATE matrix_backend SET encryption_mode = '{mode}'");
        world.client.batch_execute(&set_up).await.unwrap();
        let _worker = world.worker_with("w1", &PATIENT);
        world.until_followed().await;
        until_read(&world).await;
        webhook.fail_next(1, webhook::Fault::Status(429));
        say(&world, ROOM, "text", [1]);
        if *mode == "refuse" {
            until_read(&world).await;
            world.homeserver.fail_reading(homeserver::Fault::Page { status: 502 });
        }

        webhook.until_events(1).await;

        assert_eq!(webhook.posts(), 2);
        let logs = world.worker_logs();
        assert!(!logs.contains("HTTP 429"), "{logs}");
    }
}

/// What is encrypted comes from the homeserver as it is, so the worker passes on everything. A worker that can encrypt needs a homeserver that knows
/// about keys: `tests/encryption/service.rs`.
#[cfg(not(feature = "encryption"))]
#[tokio::test]
async fn the_worker_passes_on_everything_while_encryption_is_on_and_nothing_is_missing_after_a_change() {
    let (world, webhook) = served_by_the_homeserver().await;
    let _worker = world.worker_with("w1", &PATIENT);
    world.until_followed().await;
    until_read(&world).await;
    say(&world, ROOM, "text", 1..=2);
    until_read(&world).await;
    assert_eq!(webhook.posts(), 0);

    // What the homeserver may not have sent yet, too.
    world.client.batch_execute("UPDATE matrix_backend SET encryption_mode = 'encrypt'").await.unwrap();
    webhook.until_events(2).await;
    say(&world, ROOM, "text", 3..=4);
    webhook.until_events(4).await;

    webhook.fail_always(webhook::Fault::Status(500));
    say(&world, ROOM, "text", [5]);
    world.until("SELECT state = 'waiting' FROM matrix_follower").await;
    let (findings, _) = check(&world, &[]).await;
    let texts: Vec<_> = findings.iter().filter_map(|finding| finding["text"].as_str()).collect();
    assert!(texts.iter().any(|text| text.starts_with("messages from Matrix do not reach Odoo")), "{texts:?}");
    let epoch = world.client.query_one("SELECT epoch FROM matrix_follower", &[]).await.unwrap().get::<_, i64>(0);
    world.client.batch_execute("UPDATE matrix_backend SET encryption_mode = 'refuse'").await.unwrap();
    world.until(&format!("SELECT epoch > {epoch} FROM matrix_follower")).await;
    webhook.heal();
    webhook.until_events(5).await;

    until_read(&world).await;
    let posts = webhook.posts();
    say(&world, ROOM, "text", [6]);
    until_read(&world).await;
    assert_eq!(webhook.posts(), posts, "the homeserver sends it");
    let wanted: Vec<_> = (1..=5).map(|number| format!("text {number}")).collect();
    assert_eq!(webhook.bodies(ROOM), wanted);
    assert_eq!(webhook.paths().len(), 1, "{:?}", webhook.paths());
}
