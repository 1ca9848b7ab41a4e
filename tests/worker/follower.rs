//! What others write in Matrix reaches Odoo: all of it, once, in the order of each room.

use std::time::Duration;

use serde_json::json;
use stack::{
    homeserver::{self, BOT},
    process::Signal,
    webhook::{Fault, Webhook},
    world::World,
};

use crate::{BINARY, watched::Watched};

pub(crate) const ROOM: &str = "!case:double.test";
const OTHER: &str = "!other:double.test";
pub(crate) const ANNA: &str = "@anna:double.test";

/// Of encryption. A worker that can encrypt needs a homeserver that knows about keys, and the double does not.
pub(crate) const MODES: &[&str] = if cfg!(feature = "encryption") { &["refuse"] } else { &["refuse", "encrypt"] };

/// Ends a long poll soon enough for a test that waits for one.
const FOLLOWING: &str = "SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'following')";

pub(crate) async fn followed() -> (World, Webhook) {
    let world = World::new(BINARY).await;
    let webhook = Webhook::start().await.unwrap();
    world.follow(&webhook).await;
    (world, webhook)
}

fn numbered(body: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{body} {number}")).collect()
}

pub(crate) fn say(world: &World, room: &str, body: &str, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        world.homeserver.say(room, ANNA, &format!("{body} {number}"));
    }
}

/// An Odoo that has just started takes seconds over the first request of a kind.
#[tokio::test]
async fn odoo_is_called_before_the_first_message_and_again_after_silence() {
    let (world, webhook) = followed().await;

    let _worker = world.worker("w1");

    webhook.until("the second call without a message", |webhook| webhook.knocks() >= 2).await;
    assert_eq!(webhook.posts(), 0);
    assert!(webhook.knocks() <= 3, "{} calls", webhook.knocks());
}

#[tokio::test]
async fn what_others_write_reaches_odoo_once_and_in_order_and_what_was_written_before_does_not() {
    let (world, webhook) = followed().await;
    say(&world, ROOM, "before", 1..=3);
    let _worker = world.worker("w1");
    world.until_followed().await;

    say(&world, ROOM, "text", 1..=20);
    world.homeserver.say(ROOM, BOT, "own");
    world.homeserver.tell(ROOM, ANNA, "m.reaction", json!({ "m.relates_to": { "event_id": "$1", "key": "👍" } }));
    say(&world, OTHER, "aside", 1..=2);

    webhook.until_events(23).await;
    assert_eq!(webhook.bodies(ROOM)[..20], numbered("text", 20));
    assert_eq!(webhook.bodies(OTHER), numbered("aside", 2));
    assert_eq!(webhook.repeated(), 0);
    assert_eq!(webhook.name(ANNA).as_deref(), Some("Name of @anna:double.test"));
    assert_eq!(webhook.databases().into_iter().collect::<Vec<_>>(), [world.database.name()]);
    let event = &webhook.events()[0];
    assert_eq!(
        (&event["room_id"], &event["type"], &event["sender"]),
        (&json!(ROOM), &json!("m.room.message"), &json!(ANNA))
    );
    assert!(event["origin_server_ts"].is_number() && event.get("unsigned").is_none(), "{event}");
    world.until("SELECT forwarded_total = 23 AND forwarded_at IS NOT NULL FROM matrix_follower").await;
}

#[tokio::test]
async fn an_account_that_is_not_set_up_for_it_is_not_followed() {
    let world = World::new(BINARY).await;
    let _worker = world.worker("w1");
    let id = world.enqueue(ROOM, "one").await;
    world.assert_settled(&[id]).await;
    world.until("SELECT EXISTS (SELECT FROM matrix_worker WHERE name = 'w1')").await;

    assert_eq!(world.homeserver.readings(), 0);
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_follower)").await;
}

/// A backend that asks again starts from now: what was written meanwhile was not meant for Odoo.
#[tokio::test]
async fn an_account_that_is_no_longer_to_be_followed_is_forgotten() {
    for mode in MODES {
        let (world, webhook) = followed().await;
        let set_up = format!("UPDATE matrix_backend SET encryption_mode = '{mode}'");
        world.client.batch_execute(&set_up).await.unwrap();
        let _worker = world.worker("w1");
        world.until_followed().await;

        world.client.batch_execute("UPDATE matrix_backend SET inbound_mode = 'none'").await.unwrap();
        world.until("SELECT NOT EXISTS (SELECT FROM matrix_follower)").await;
        say(&world, ROOM, "between", 1..=2);
        world.follow(&webhook).await;
        world.until_followed().await;
        say(&world, ROOM, "after", 1..=2);

        webhook.until_events(2).await;
        assert_eq!(webhook.bodies(ROOM), numbered("after", 2), "{mode}");
    }
}

/// Many more than one answer holds, while Odoo is away.
#[tokio::test]
async fn while_odoo_is_away_nothing_is_lost_and_the_order_is_kept() {
    let (world, webhook) = followed().await;
    world.homeserver.tell_at_most(10);
    let worker = Watched::start(&world, "w1", &[]).await;
    world.until_followed().await;

    webhook.fail_always(Fault::Reset);
    say(&world, ROOM, "text", 1..=1);
    world.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'waiting' AND reason LIKE '%no connection to Odoo%')").await;
    let following = format!(r#"matrix_inbound_following{{backend="{}"}}"#, world.backend);
    worker.until_metric(&following, 0.0).await;
    say(&world, ROOM, "text", 2..=350);
    say(&world, OTHER, "aside", 1..=5);
    webhook.heal();

    webhook.until_events(355).await;
    assert_eq!(webhook.bodies(ROOM), numbered("text", 350));
    assert_eq!(webhook.bodies(OTHER), numbered("aside", 5));
    world.until(FOLLOWING).await;
    worker.until_metric(&following, 1.0).await;
    worker.until_metric("matrix_inbound_events_total", 355.0).await;
    worker.until_metric("matrix_inbound_gaps_closed_total", 1.0).await;
    assert!(worker.metric(r#"matrix_inbound_failures_total{side="odoo"}"#).await >= 1.0);
    let warnings = world.worker_logs().matches("do not reach Odoo").count();
    assert_eq!(warnings, 1, "{}", world.worker_logs());
}

#[tokio::test]
async fn an_answer_that_is_lost_repeats_the_events_and_odoo_knows_them() {
    let (world, webhook) = followed().await;
    let _worker = world.worker("w1");
    world.until_followed().await;

    webhook.fail_next(1, Fault::ResetAccepted);
    say(&world, ROOM, "text", 1..=1);
    webhook.until("the repetition", |webhook| webhook.repeated() == 1).await;
    say(&world, ROOM, "text", 2..=3);

    webhook.until_events(3).await;
    assert_eq!(webhook.bodies(ROOM), numbered("text", 3));
}

#[tokio::test]
async fn each_refusal_of_odoo_is_reported_with_what_to_do() {
    let (world, webhook) = followed().await;
    let _worker = world.worker("w1");
    world.until_followed().await;

    for (fault, shown) in [
        (Fault::Status(401), "refuses the secret"),
        (Fault::Status(404), "correct the address"),
        (Fault::Status(302), "redirects"),
        (Fault::Status(503), "its log says more"),
        (Fault::Silence, "within the time limit"),
    ] {
        webhook.fail_always(fault);
        let before = webhook.events().len();
        say(&world, ROOM, "text", [before + 1]);
        world
            .until(&format!(
                "SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'waiting' AND reason LIKE '%{shown}%')"
            ))
            .await;
        webhook.heal();
        webhook.until_events(before + 1).await;
        world.until(FOLLOWING).await;
    }
    assert_eq!(webhook.bodies(ROOM), numbered("text", 5));
}

/// A page of a proxy in place of Odoo must not cost a message.
#[tokio::test]
async fn an_event_that_odoo_will_never_accept_is_left_out_and_nothing_else_is() {
    let (world, webhook) = followed().await;
    let worker = Watched::start(&world, "w1", &[]).await;
    world.until_followed().await;

    webhook.poison("text 7");
    webhook.take_at_most(4);
    webhook.fail_next(2, Fault::Status(400));
    say(&world, ROOM, "text", 1..=12);

    webhook.until("the last one", |webhook| webhook.bodies(ROOM).last().is_some_and(|body| body == "text 12")).await;
    let mut wanted = numbered("text", 12);
    wanted.remove(6);
    assert_eq!(webhook.bodies(ROOM), wanted);
    worker.until_metric("matrix_inbound_refused_total", 1.0).await;
}

#[tokio::test]
async fn a_homeserver_that_fails_or_limits_is_asked_again_from_the_same_place() {
    let (world, webhook) = followed().await;
    let _worker = world.worker("w1");
    world.until_followed().await;

    for fault in [
        homeserver::Fault::Limit { retry_after_ms: 50 },
        homeserver::Fault::Reset,
        homeserver::Fault::Page { status: 502 },
        homeserver::Fault::Refuse { status: 500, errcode: "M_UNKNOWN" },
        homeserver::Fault::CutAccepted,
        // Only a homeserver that does not know the position makes the worker begin anew.
        homeserver::Fault::Page { status: 413 },
        homeserver::Fault::Refuse { status: 404, errcode: "M_NOT_FOUND" },
    ] {
        let before = webhook.events().len();
        world.homeserver.fail_reading(fault);
        say(&world, ROOM, "text", [before + 1]);
        webhook.until_events(before + 1).await;
    }

    assert_eq!(webhook.bodies(ROOM), numbered("text", 7));
    assert_eq!(webhook.repeated(), 0);
}

#[tokio::test]
async fn an_account_that_is_refused_is_reported_and_followed_again_when_it_is_not() {
    let (world, webhook) = followed().await;
    let _worker = world.worker("w1");
    world.until_followed().await;

    let refused = homeserver::Fault::Refuse { status: 401, errcode: "M_UNKNOWN_TOKEN" };
    world.homeserver.fail_always(refused.clone());
    world.homeserver.fail_reading(refused);
    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'unauthorized')").await;
    world
        .until(
            "SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'stopped' AND reason LIKE '%M_UNKNOWN_TOKEN%')",
        )
        .await;
    say(&world, ROOM, "text", 1..=3);
    world.homeserver.heal();

    webhook.until_events(3).await;
    assert_eq!(webhook.bodies(ROOM), numbered("text", 3));
    world.until(FOLLOWING).await;
}

/// A homeserver that was restored from a backup: what was written since cannot be found out, and reading goes on.
#[tokio::test]
async fn a_place_that_the_homeserver_has_forgotten_is_reported_and_reading_begins_anew() {
    let (world, webhook) = followed().await;
    let _worker = world.worker("w1");
    world.until_followed().await;

    world.homeserver.forget_places();
    world.until("SELECT since = 's1' FROM matrix_follower").await;
    say(&world, ROOM, "after", 1..=2);

    webhook.until_events(2).await;
    assert_eq!(webhook.bodies(ROOM), numbered("after", 2));
    assert!(world.worker_logs().contains("what was written since then is not passed on to Odoo"));
}

#[tokio::test]
async fn of_many_workers_one_follows_and_another_goes_on_when_it_stops() {
    let (world, webhook) = followed().await;
    let first = world.worker("w1");
    world.until_followed().await;
    let _second = world.worker("w2");
    world.until("SELECT count(*) = 2 FROM matrix_worker").await;
    say(&world, ROOM, "text", 1..=5);
    world.until("SELECT forwarded_total = 5 FROM matrix_follower").await;

    first.stop(Signal::TERM).await.unwrap();
    say(&world, ROOM, "text", 6..=9);

    webhook.until_events(9).await;
    assert_eq!(webhook.bodies(ROOM), numbered("text", 9));
    assert_eq!(webhook.repeated(), 0);
    world.until("SELECT owner LIKE 'w2/%' AND epoch = 2 FROM matrix_follower").await;
}

#[tokio::test]
async fn a_copy_of_the_database_follows_nobody() {
    let (world, webhook) = followed().await;
    world.client.batch_execute("UPDATE matrix_backend SET database_identity = 'elsewhere'").await.unwrap();
    let _worker = world.worker("w1");
    world.until("SELECT EXISTS (SELECT FROM matrix_worker)").await;
    let id = world.enqueue(OTHER, "held").await;
    world.until(&format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {id})")).await;

    assert_eq!((world.homeserver.readings(), webhook.posts()), (0, 0));
}

/// What Odoo changes on the backend is obeyed without a restart.
#[tokio::test]
async fn another_address_of_the_webhook_is_used_within_seconds() {
    let (world, webhook) = followed().await;
    let _worker = world.worker("w1");
    world.until_followed().await;
    webhook.fail_always(Fault::Status(503));
    say(&world, ROOM, "text", 1..=3);
    world.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'waiting')").await;

    let elsewhere = Webhook::start().await.unwrap();
    world.follow(&elsewhere).await;

    tokio::time::timeout(Duration::from_secs(20), elsewhere.until_events(3)).await.unwrap();
    assert_eq!(elsewhere.bodies(ROOM), numbered("text", 3));
}

#[tokio::test]
async fn status_and_check_say_whether_messages_from_matrix_reach_odoo() {
    let (world, webhook) = followed().await;
    let check = async || {
        let output = world.command(&["check"]).await;
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, shown) = check().await;
    assert!(code == Some(0) && shown.contains("no worker follows the account"), "{shown}");

    let _worker = world.worker("w1");
    world.until_followed().await;
    say(&world, ROOM, "text", 1..=3);
    world.until("SELECT forwarded_total = 3 FROM matrix_follower").await;
    let (code, shown) = check().await;
    assert!(code == Some(0) && shown.contains("3 events passed on to Odoo"), "{shown}");

    webhook.fail_always(Fault::Status(401));
    say(&world, ROOM, "text", [4]);
    world.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE state = 'waiting')").await;
    let (code, shown) = check().await;
    assert!(code == Some(1) && shown.contains("refuses the secret"), "{shown}");
    let output = world.command(&["status"]).await;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        shown.contains("FROM MATRIX") && shown.contains("waiting") && shown.contains("refuses the secret"),
        "{shown}"
    );
}
