//! The homeserver refuses the account, whatever it sends: an outage with a reason, never the fault of a message.

use serde_json::json;
use stack::{
    homeserver::{Fault, Membership, Room},
    report,
    world::World,
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";
const OTHER: &str = "!other:double.test";

/// `whoami` answers all the while, as it does on Synapse.
#[tokio::test]
async fn a_refusal_of_the_account_holds_all_messages_and_says_why() {
    let world = World::new(BINARY).await;
    let refusals = [
        ("M_RESOURCE_LIMIT_EXCEEDED", "admin_contact", "mailto:admin@double.test"),
        ("M_CONSENT_NOT_GIVEN", "consent_uri", "https://double.test/terms"),
        ("M_USER_LIMIT_EXCEEDED", "info_uri", "https://double.test/plans"),
        ("ORG_MATRIX_EXPIRED_ACCOUNT", "info_uri", "https://double.test/renew"),
        ("M_USER_DEACTIVATED", "admin_contact", "mailto:admin@double.test"),
    ];
    let refuse = |(errcode, key, link): (&str, &str, &str)| {
        world
            .homeserver
            .fail_sends(Fault::Json { status: 403, body: json!({ "errcode": errcode, "error": "no", key: link }) });
    };
    refuse(refusals[0]);
    let ids = world.enqueue_many(&[ROOM, OTHER], "message", 3).await;
    let _worker = world.worker("w1");

    for refusal in refusals {
        refuse(refusal);
        let (errcode, _, link) = refusal;
        let shown = format!(
            "SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'unauthorized'
                AND position('{errcode}' in reason) > 0 AND position('{link}' in reason) > 0)"
        );
        // The next probe is due.
        world.later(60).await;
        world.until(&shown).await;
    }
    world.homeserver.heal();
    world.later(60).await;

    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM, OTHER], "message", 3);
    let failed: Vec<_> = world.log().await.into_iter().filter(|row| row.status == "failed").collect();
    assert!(failed.iter().all(|row| !row.is_final), "{failed:?}");
    report::record(
        "refusals of the whole account",
        "a used up limit, missing consent, a quota, an expired and a deactivated account, 403 on every PUT while whoami answers: reason and \
         link are shown, nothing failed for good, all delivered in order",
        &format!("{} of {} as documented", refusals.len(), refusals.len()),
    );
}

/// An application service that may no longer act as the account: each call is refused as if the account was not in the room.
#[tokio::test]
async fn an_account_that_is_forbidden_everything_is_stopped_and_its_messages_wait() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_always(Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });
    let ids = world.enqueue_many(&[ROOM], "message", 2).await;
    let _worker = world.worker("w1");

    world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'unauthorized')").await;
    world.homeserver.heal();
    world.later(0).await;

    world.assert_settled(&ids).await;
    world.assert_in_order(&[ROOM], "message", 2);
}

/// It answers who it is, so the account is not stopped: a probe would start it again at once, and so on.
#[tokio::test]
async fn an_account_that_may_not_ask_which_rooms_it_is_in_is_not_stopped() {
    let world = World::new(BINARY).await;
    world.homeserver.room(ROOM, Room { membership: Membership::Left, ..Room::default() });
    world.homeserver.fail_memberships(Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });

    let id = world.enqueue(ROOM, "message").await;
    let _worker = world.worker("w1");

    world.assert_settled(&[id]).await;
    let log = world.log().await;
    assert!(log.iter().all(|row| row.status == "failed" && row.is_final), "{log:?}");
    assert!(log[0].error_message.as_ref().unwrap().contains("the reason could not be found out"), "{log:?}");
    assert_ne!(world.state().await.as_deref(), Some("unauthorized"));
}
