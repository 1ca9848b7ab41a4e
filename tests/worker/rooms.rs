//! A 403 has six causes: each is fixed, or reported in plain words, once.

use stack::{
    homeserver::{BOT, Fault, Membership, Room},
    report,
    world::{LogRow, World},
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";
const NEW: &str = "!new:double.test";

/// Queues two messages for `ROOM`, lets a worker deal with them and returns the log.
async fn deliver(world: &World) -> Vec<LogRow> {
    let ids = world.enqueue_many(&[ROOM], "message", 2).await;
    let _worker = world.worker("w1");
    world.assert_settled(&ids).await;
    world.log().await
}

/// Both messages failed for good, each with one row that says `text`, and the room was asked once.
async fn assert_refused(world: &World, code: &str, text: &str) {
    let log = deliver(world).await;
    assert_eq!(log.len(), 2);
    for row in &log {
        assert_eq!((row.status.as_str(), row.error_code.as_deref()), ("failed", Some(code)), "{row:?}");
        assert!(row.error_message.as_ref().unwrap().contains(text), "{row:?}");
    }
    let sends = world.homeserver.requests().iter().filter(|request| request.is_send()).count();
    assert!(sends <= 1, "one 403 closes the claim, and a room that is seen to be replaced gets none: {sends}");
}

#[tokio::test]
async fn a_403_has_six_causes_and_each_its_own_outcome() {
    let room = |membership| Room { membership, ..Room::default() };
    let banned = format!("{BOT} is banned");
    let causes = [
        ("not a member", room(Membership::Left), None, Some("is not in this room; invite it")),
        ("banned", room(Membership::Banned), None, Some(banned.as_str())),
        (
            "no power level",
            Room { is_muted: true, ..Room::default() },
            None,
            Some("it has power level 0, messages need 50"),
        ),
        ("invited", room(Membership::Invited), None, None),
        ("replaced, and safe to follow", replaced(), Some(successor()), None),
        (
            "encrypted, and replaced by a room that is not",
            Room { is_encrypted: true, ..replaced() },
            Some(successor()),
            Some("it is not encrypted, and the old one was"),
        ),
        (
            "replaced, and to be confirmed",
            replaced(),
            Some(Room { is_public: true, ..successor() }),
            Some("confirm the new room on the record"),
        ),
    ];
    let count = causes.len();
    for (cause, room, new, refused) in causes {
        let world = World::new(BINARY).await;
        world.homeserver.room(ROOM, room);
        let arrives = if new.is_some() { NEW } else { ROOM };
        if let Some(new) = new {
            world.homeserver.room(NEW, new);
        }
        if let Some(text) = refused {
            let code = if arrives == NEW { "org.odoo.room_replaced" } else { "M_FORBIDDEN" };
            assert_refused(&world, code, text).await;
        } else {
            let log = deliver(&world).await;
            assert!(log.iter().all(|row| row.status == "ok"), "{cause}: {log:?}");
            world.assert_in_order(&[arrives], "message", 2);
        }
    }
    report::record(
        "403: six causes",
        "not a member, banned, no power level, replaced and to be confirmed: shown in plain words, asked once; invited: joined; \
         replaced and safe: followed",
        &format!("{count} of {count} as documented"),
    );
}

#[tokio::test]
async fn an_invitation_that_cannot_be_accepted_is_reported_and_tried_once() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, Room { membership: Membership::Invited, ..Room::default() });
    // The message and the join.
    world.homeserver.fail_room(ROOM, 2, Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });

    assert_refused(&world, "M_FORBIDDEN", "is invited to this room but is not let in; invite it again").await;
}

#[tokio::test]
async fn a_successor_that_does_not_let_the_bot_in_is_to_be_confirmed() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, replaced());
    world.homeserver.room(NEW, successor());
    world.homeserver.fail_room(NEW, 1, Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });

    assert_refused(&world, "org.odoo.room_replaced", "it does not let this account in").await;
}

/// A module of the homeserver may refuse one text and accept the next one.
#[tokio::test]
async fn a_refusal_that_the_room_does_not_explain_concerns_one_message_only() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, Room::default());
    world.homeserver.poison("message 1", Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });

    let log = deliver(&world).await;

    let rows: Vec<_> = log.iter().map(|row| (row.status.as_str(), row.error_message.as_deref())).collect();
    assert_eq!(rows, [("failed", Some("made to fail (HTTP 403 M_FORBIDDEN)")), ("ok", None)]);
}

/// The levels of such a room do not list its creator.
#[tokio::test]
async fn the_creator_of_a_version_12_room_is_never_said_to_lack_power() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, Room { creator: Some(BOT.to_owned()), is_muted: true, ..Room::default() });
    world.homeserver.poison("message 1", Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });

    let log = deliver(&world).await;

    let rows: Vec<_> = log.iter().map(|row| (row.status.as_str(), row.error_message.as_deref())).collect();
    assert_eq!(rows, [("failed", Some("made to fail (HTTP 403 M_FORBIDDEN)")), ("ok", None)]);
}

#[tokio::test]
async fn a_room_that_may_not_be_looked_at_is_looked_at_once() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, Room::default());
    // Each message, and the look at the room's tombstone.
    world.homeserver.fail_room(ROOM, 3, Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });

    let log = deliver(&world).await;

    assert!(log.iter().all(|row| row.status == "failed"), "{log:?}");
    assert!(log[0].error_message.as_ref().unwrap().contains("the reason could not be found out"), "{log:?}");
    assert_eq!(world.homeserver.requests().iter().filter(|request| request.path == ["sync"]).count(), 1);
}

#[tokio::test]
async fn an_invitation_that_follows_a_refusal_is_accepted() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, Room { membership: Membership::Left, ..Room::default() });
    let _worker = world.worker("w1");
    let refused = world.enqueue(ROOM, "before").await;
    world.assert_settled(&[refused]).await;

    world.homeserver.room(ROOM, Room { membership: Membership::Invited, ..Room::default() });
    let invited = world.enqueue(ROOM, "after").await;
    world.assert_settled(&[refused, invited]).await;

    let log = world.log().await;
    assert_eq!(log.iter().map(|row| row.status.as_str()).collect::<Vec<_>>(), ["failed", "ok"], "{log:?}");
}

fn replaced() -> Room {
    let members = vec!["@lawyer:double.test".to_owned()];
    Room { tombstone: Some(NEW.to_owned()), members, ..Room::default() }
}

fn successor() -> Room {
    Room {
        membership: Membership::Invited,
        predecessor: Some(ROOM.to_owned()),
        invited_by: Some("@lawyer:double.test".to_owned()),
        ..Room::default()
    }
}

#[tokio::test]
async fn a_replaced_room_is_followed_when_a_member_invited_the_bot_to_its_successor() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, replaced());
    world.homeserver.room(NEW, successor());

    let log = deliver(&world).await;

    assert!(log.iter().all(|row| row.status == "ok"), "{log:?}");
    assert_eq!(world.homeserver.bodies(NEW), ["message 1", "message 2"]);
    let kept: String = world.client.query_one("SELECT room_id FROM matrix_lane", &[]).await.unwrap().get(0);
    assert_eq!(kept, NEW);
}

/// A worker was killed after it had joined and before it had stored the room; or nobody had to be invited.
#[tokio::test]
async fn a_successor_that_the_bot_is_in_or_may_join_is_followed() {
    let maker = Some("@lawyer:double.test".to_owned());
    let open = Room { membership: Membership::Left, is_open_to_members: true, ..successor() };
    for (why, new) in [
        ("joined before", Room { membership: Membership::Joined, creator: maker.clone(), ..successor() }),
        ("open to members", Room { creator: maker, ..open }),
    ] {
        let world = World::new(BINARY).await;
        world.homeserver.room(ROOM, replaced());
        world.homeserver.room(NEW, new);

        let log = deliver(&world).await;

        assert!(log.iter().all(|row| row.status == "ok"), "{why}: {log:?}");
        assert_eq!(world.homeserver.bodies(NEW), ["message 1", "message 2"], "{why}");
    }
}

#[tokio::test]
async fn messages_wait_ten_minutes_for_the_invitation_to_a_successor() {
    for is_invited in [true, false] {
        let world = World::new(BINARY).await;
        world.homeserver.room(ROOM, replaced());
        world.homeserver.room(NEW, Room { membership: Membership::Left, ..successor() });
        let ids = world.enqueue_many(&[ROOM], "message", 2).await;
        let _worker = world.worker("w1");
        world.until_resting(ROOM).await;

        if is_invited {
            world.homeserver.room(NEW, successor());
        }
        world.later(if is_invited { 0 } else { 601 }).await;
        world.assert_settled(&ids).await;

        let log = world.log().await;
        let finals: Vec<_> = log.iter().filter(|row| row.is_final).map(|row| row.status.as_str()).collect();
        if is_invited {
            assert_eq!(finals, ["ok", "ok"], "{log:?}");
            assert_eq!(world.homeserver.bodies(NEW), ["message 1", "message 2"]);
        } else {
            assert_eq!(finals, ["failed", "failed"], "{log:?}");
            let reason = log.last().unwrap().error_message.as_ref().unwrap();
            assert!(reason.contains("this account is not invited to it"), "{reason}");
        }
    }
}

#[tokio::test]
async fn an_administrator_of_the_old_room_cannot_redirect_its_messages() {
    let open = Room { membership: Membership::Left, is_open_to_members: true, ..successor() };
    for (why, new) in [
        ("does not name the old one", Room { predecessor: None, ..successor() }),
        ("is not in the old room", Room { invited_by: Some("@stranger:double.test".to_owned()), ..successor() }),
        ("it is public", Room { is_public: true, ..successor() }),
        ("it is encrypted", Room { is_encrypted: true, ..successor() }),
        ("nobody of the old room has made it", Room { membership: Membership::Joined, ..successor() }),
        ("it is public", Room { membership: Membership::Left, is_public: true, ..successor() }),
        ("nobody of the old room has made it", open),
    ] {
        let world = World::new(BINARY).await;
        let was = new.membership;
        world.homeserver.room(ROOM, replaced());
        world.homeserver.room(NEW, new);

        assert_refused(&world, "org.odoo.room_replaced", why).await;

        assert_eq!(world.homeserver.bodies(NEW), [""; 0], "{why}");
        let is_in = |membership| membership == Membership::Joined;
        assert_eq!(is_in(world.homeserver.room_now(NEW).unwrap().membership), is_in(was), "{why}");
    }
}

fn encrypted() -> Room {
    Room { is_encrypted: true, ..Room::default() }
}

#[tokio::test]
async fn nothing_goes_unencrypted_to_an_encrypted_room_without_consent() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, encrypted());

    let log = deliver(&world).await;

    assert_eq!(log.len(), 2);
    for row in &log {
        assert_eq!((row.status.as_str(), row.error_code.as_deref()), ("failed", Some("org.odoo.encrypted")), "{row:?}");
        assert!(row.error_message.as_ref().unwrap().contains("nobody has allowed"), "{row:?}");
    }
    assert_eq!(world.homeserver.count(), 0, "nothing was sent");
}

/// Somebody who is only invited may not read whether the room is encrypted.
#[tokio::test]
async fn a_room_that_is_joined_on_the_way_is_looked_at_from_inside() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, Room { membership: Membership::Invited, ..encrypted() });

    let log = deliver(&world).await;

    assert!(log.iter().all(|row| row.error_code.as_deref() == Some("org.odoo.encrypted")), "{log:?}");
    assert_eq!(world.homeserver.count(), 0, "nothing was sent in clear");
}

#[tokio::test]
async fn a_homeserver_that_cannot_say_whether_a_room_is_encrypted_gets_no_message() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, encrypted());
    world.homeserver.fail_looks(Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    let id = world.enqueue(ROOM, "secret").await;
    let _worker = world.worker("w1");

    world.until_resting(ROOM).await;
    world.homeserver.heal();
    world.later(0).await;

    world.assert_settled(&[id]).await;
    assert_eq!(world.log().await.last().unwrap().error_code.as_deref(), Some("org.odoo.encrypted"));
}

/// The room with a person is chosen by the worker, so it can choose another one.
#[tokio::test]
async fn a_direct_room_that_became_encrypted_is_replaced_by_another_one() {
    let world = World::new(BINARY).await;
    let person = "@jane:double.test";
    let worker = world.worker("w1");
    let first = world.enqueue_direct(person, "one").await;
    world.assert_settled(&[first]).await;
    let room = world.homeserver.rooms_made().remove(0);
    world.homeserver.room(&room, Room { members: vec![person.to_owned()], ..encrypted() });
    drop(worker);
    // Another process, which has not seen the room yet.
    let _worker = world.worker("w2");

    let second = world.enqueue_direct(person, "two").await;

    world.assert_settled(&[first, second]).await;
    let rooms = world.homeserver.rooms_made();
    let other = rooms.iter().find(|made| **made != room).unwrap();
    assert_eq!(world.homeserver.bodies(other), ["two"]);
}
