//! Direct messages to people who cannot be invited, or not yet: one room, one plain reason, and nobody else waits.

use serde_json::json;
use stack::{
    homeserver::{Fault, Room},
    world::{LogRow, World},
};

use crate::{
    BINARY,
    direct::{PERSON, only_room},
};

/// Of a homeserver that is not the double.
const STRANGER: &str = "@client:elsewhere.test";

const DOWN: Fault = Fault::Refuse { status: 502, errcode: "M_UNKNOWN" };

async fn failed(world: &World) -> Vec<LogRow> {
    world.log().await.into_iter().filter(|row| row.status == "failed").collect()
}

#[tokio::test]
async fn a_person_whose_server_is_down_has_one_room_and_keeps_nobody_waiting() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_invitations(STRANGER, Some(DOWN));
    let _workers = ["w1", "w2"].map(|name| world.worker(name));

    let held = world.enqueue_direct(STRANGER, "hello").await;
    // The invitation failed in two claims at least.
    world.until("SELECT EXISTS (SELECT FROM matrix_lane WHERE epoch >= 2 AND retry_at IS NOT NULL)").await;
    let other = world.enqueue("!other:double.test", "at once").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_log WHERE status = 'ok')").await;
    assert_eq!(world.homeserver.events()[0].body(), "at once");
    assert_ne!(world.state().await.as_deref(), Some("down"));
    let shown = failed(&world).await;
    assert_eq!(
        (shown.len(), shown[0].is_final, shown[0].error_code.as_deref()),
        (1, false, Some("M_UNKNOWN")),
        "{shown:?}"
    );
    let text = shown[0].error_message.as_ref().unwrap();
    assert!(text.contains("could not be invited yet") && text.contains("until elsewhere.test answers"), "{text}");

    let sql = "SELECT room_id, matrix_user_id FROM matrix_log WHERE status = 'failed'";
    let logged = world.client.query_one(sql, &[]).await.unwrap();
    assert_eq!((logged.get(0), logged.get(1)), (only_room(&world), STRANGER.to_owned()));

    world.homeserver.fail_invitations(STRANGER, None);
    world.assert_settled(&[held, other]).await;

    let room = only_room(&world);
    assert_eq!(world.homeserver.bodies(&room), ["hello"]);
    assert_eq!(world.homeserver.rooms_of(STRANGER), [room]);
}

#[tokio::test]
async fn an_invitation_that_is_never_answered_holds_up_that_person_only() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_invitations(STRANGER, Some(Fault::Silence));
    let _worker = world.worker("w1");

    let held = world.enqueue_direct(STRANGER, "hello").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_log WHERE NOT is_final)").await;

    assert_eq!(failed(&world).await[0].error_code.as_deref(), Some("org.odoo.timeout"));
    assert_ne!(world.state().await.as_deref(), Some("down"));
    world.homeserver.fail_invitations(STRANGER, None);
    world.assert_settled(&[held]).await;
    only_room(&world);
}

#[tokio::test]
async fn a_limit_on_invitations_holds_up_that_person_and_nobody_else() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_invitations(PERSON, Some(Fault::Limit { retry_after_ms: 1_000 }));
    let _worker = world.worker("w1");

    let held = world.enqueue_direct(PERSON, "later").await;
    world.until("SELECT EXISTS (SELECT FROM matrix_lane WHERE retry_at IS NOT NULL)").await;
    let other = world.enqueue_direct(STRANGER, "at once").await;
    world.homeserver.until_events(1).await;
    assert_eq!(world.homeserver.events()[0].body(), "at once");
    world.homeserver.fail_invitations(PERSON, None);

    world.assert_settled(&[held, other]).await;
    assert_eq!(failed(&world).await, []);
    assert_eq!(world.homeserver.rooms_made().len(), 2);
    assert_ne!(world.state().await.as_deref(), Some("rate_limited"));
}

#[tokio::test]
async fn an_invitation_that_is_refused_is_reported_in_plain_words_and_makes_one_room() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_invitations(PERSON, Some(Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" }));
    let _worker = world.worker("w1");

    let mut ids = Vec::new();
    for body in ["one", "two", "three"] {
        ids.push(world.enqueue_direct(PERSON, body).await);
        world.assert_settled(&ids).await;
    }

    for row in world.log().await {
        assert_eq!((row.error_code.as_deref(), row.is_final), (Some("M_FORBIDDEN"), true), "{row:?}");
        assert_eq!(
            row.error_message.unwrap(),
            format!("{PERSON} cannot be invited: made to fail (HTTP 403 M_FORBIDDEN)")
        );
    }
    only_room(&world);
}

#[tokio::test]
async fn an_account_that_may_not_make_rooms_is_reported_in_plain_words() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_creation(Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });
    let _worker = world.worker("w1");

    let id = world.enqueue_direct(PERSON, "hello").await;
    world.assert_settled(&[id]).await;

    let row = world.log().await.remove(0);
    assert_eq!((row.error_code.as_deref(), row.is_final), (Some("M_FORBIDDEN"), true), "{row:?}");
    assert!(row.error_message.unwrap().contains("does not let this account make a room"));
}

#[tokio::test]
async fn a_person_without_an_account_is_reported_at_once_and_gets_no_room() {
    let world = World::new(BINARY).await;
    world.homeserver.without_account(PERSON);
    // Of others only their own servers can know.
    world.homeserver.without_account(STRANGER);
    let _worker = world.worker("w1");

    let nobody = world.enqueue_direct(PERSON, "to nobody").await;
    let stranger = world.enqueue_direct(STRANGER, "to somebody").await;
    world.assert_settled(&[nobody, stranger]).await;

    let shown = failed(&world).await;
    assert_eq!((shown.len(), shown[0].error_code.as_deref()), (1, Some("org.odoo.no_such_user")), "{shown:?}");
    let text = shown[0].error_message.as_ref().unwrap();
    assert!(text.starts_with("no such Matrix user: double.test has no account @lawyer:double.test"), "{text}");
    assert_eq!(world.homeserver.bodies(&only_room(&world)), ["to somebody"]);
}

#[tokio::test]
async fn a_person_who_left_is_invited_again_to_the_same_room() {
    for membership in ["leave", "knock"] {
        let world = World::new(BINARY).await;
        let _worker = world.worker("w1");
        let first = world.enqueue_direct(PERSON, "first").await;
        world.assert_settled(&[first]).await;
        let room = only_room(&world);
        let left = Room { others: vec![(PERSON.to_owned(), membership)], ..world.homeserver.room_now(&room).unwrap() };
        world.homeserver.room(&room, left);

        let second = world.enqueue_direct(PERSON, "second").await;
        world.assert_settled(&[first, second]).await;

        assert_eq!(world.homeserver.rooms_of(PERSON), std::slice::from_ref(&room), "{membership}");
        assert_eq!(world.homeserver.bodies(&only_room(&world)), ["first", "second"], "{membership}");
    }
}

#[tokio::test]
async fn a_person_who_cannot_be_invited_again_gets_another_room() {
    let left = Room { others: vec![(PERSON.to_owned(), "leave")], is_muted: true, ..Room::default() };
    let banned = Room { others: vec![(PERSON.to_owned(), "ban")], ..Room::default() };
    let replaced =
        Room { tombstone: Some("!x:double.test".to_owned()), members: vec![PERSON.to_owned()], ..Room::default() };
    for room in [left, banned, replaced] {
        let world = World::new(BINARY).await;
        let both = Room { members: vec![PERSON.to_owned()], ..Room::default() };
        world.homeserver.room("!theirs:double.test", both);
        world.homeserver.set_direct(json!({ PERSON: ["!theirs:double.test"] }));
        let _worker = world.worker("w1");
        let first = world.enqueue_direct(PERSON, "first").await;
        world.assert_settled(&[first]).await;
        world.homeserver.room("!theirs:double.test", room);

        let second = world.enqueue_direct(PERSON, "second").await;
        world.assert_settled(&[first, second]).await;

        assert_eq!(world.homeserver.bodies("!theirs:double.test"), ["first"]);
        let new = only_room(&world);
        assert_eq!(world.homeserver.bodies(&new), ["second"]);
        assert_eq!(world.homeserver.direct().unwrap(), json!({ PERSON: [new, "!theirs:double.test"] }));
    }
}
