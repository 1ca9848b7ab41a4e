//! A message that is the only one of its room, or whose room accepts nothing else, is given up only when nothing but the message can be at fault.

use stack::{homeserver::Fault, world::World};

use crate::BINARY;

const ROOM: &str = "!case:double.test";

/// As Odoo marks each message.
const MARK: &str = "UPDATE matrix_outbox SET content = content || jsonb_build_object('org.odoo.outbox', txn_id)";
const EXPIRE: &str = "UPDATE matrix_outbox SET expires_at = now() AT TIME ZONE 'UTC' - interval '1 s'";

/// Nobody else writes, so only time can show that the message is at fault and not the homeserver.
#[tokio::test]
async fn a_message_that_the_homeserver_itself_fails_at_for_ten_minutes_is_given_up() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_sends(Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    let _worker = world.worker("w1");
    let id = world.enqueue(ROOM, "poison").await;
    let held = "SELECT EXISTS (SELECT FROM matrix_lane WHERE first_failed_at IS NOT NULL AND lease_until IS NULL)";
    world.until(held).await;

    world.later(11 * 60).await;

    world.assert_settled(&[id]).await;
    let log = world.log().await;
    let outcomes: Vec<_> = log.iter().map(|row| (row.status.as_str(), row.is_final)).collect();
    assert_eq!(outcomes, [("failed", false), ("failed", true)], "{log:?}");
}

/// The message behind one that has failed for ten minutes is tried past it and refused for its own fault. Until that is in the database it still
/// waits behind the head, so whether the head is the last one there depends on when that is asked: here the question meets a slow database.
#[tokio::test]
async fn a_message_that_was_refused_past_the_head_is_not_tried_again_when_the_head_is_given_up() {
    let world = World::new(BINARY).await;
    world.homeserver.fail_sends(Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    world.homeserver.poison("refused", Fault::Refuse { status: 400, errcode: "M_BAD_JSON" });
    let _worker = world.worker("w1");
    let head = world.enqueue(ROOM, "head").await;
    let held = "SELECT EXISTS (SELECT FROM matrix_lane WHERE first_failed_at IS NOT NULL AND lease_until IS NULL)";
    world.until(held).await;
    let asked = include_str!("../../sql/waits_behind.sql");
    assert!(asked.contains("waits behind another one"), "it is not recognised, so it would not be slow: {asked}");
    let slow = "CREATE FUNCTION is_seen(message bigint) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            WHILE current_query() LIKE '%waits behind another one%' AND EXISTS (SELECT FROM matrix_outbox WHERE id = message) LOOP
                PERFORM pg_sleep(0.01);
            END LOOP;
            RETURN EXISTS (SELECT FROM matrix_outbox WHERE id = message);
        END $$;
        CREATE POLICY slow ON matrix_outbox USING (is_seen(id));
        ALTER TABLE matrix_outbox ENABLE ROW LEVEL SECURITY";
    world.client.batch_execute(slow).await.unwrap();
    let refused = world.enqueue(ROOM, "refused").await;
    let txn_id = "SELECT txn_id FROM matrix_outbox WHERE id = $1";
    let txn_id: String = world.client.query_one(txn_id, &[&refused]).await.unwrap().get(0);

    world.later(11 * 60).await;
    world.until(&format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {refused})")).await;
    world.until("SELECT lease_until IS NULL FROM matrix_lane").await;
    world.later(0).await;

    world.assert_settled(&[head, refused]).await;
    let tries = world.homeserver.requests().into_iter().filter(|request| request.path.contains(&txn_id));
    assert_eq!(tries.count(), 1);
}

/// What is not the homeserver's own answer may come from a proxy that has lost a part of it.
#[tokio::test]
async fn a_message_that_meets_silence_or_a_page_for_ten_minutes_is_not_given_up() {
    for fault in [Fault::Silence, Fault::Page { status: 502 }, Fault::Page { status: 403 }] {
        let world = World::new(BINARY).await;
        world.homeserver.fail_sends(fault.clone());
        let _worker = world.worker("w1");
        let id = world.enqueue(ROOM, "patient").await;
        let attempts = async |count| {
            let tried =
                format!("SELECT EXISTS (SELECT FROM matrix_lane WHERE attempts >= {count} AND lease_until IS NULL)");
            world.until(&tried).await;
        };
        attempts(1).await;
        world.later(11 * 60).await;
        attempts(3).await;

        world.homeserver.heal();
        world.later(1).await;

        world.assert_settled(&[id]).await;
        let log = world.log().await;
        let outcomes: Vec<_> = log.iter().map(|row| (row.status.as_str(), row.is_final)).collect();
        assert_eq!(outcomes, [("failed", false), ("ok", true)], "{fault:?}: {log:?}");
    }
}

/// Whoever reads in Logs that it has failed would send it once more.
#[tokio::test]
async fn a_message_that_arrived_without_an_answer_before_it_expired_is_logged_as_sent() {
    let world = World::new(BINARY).await;
    world.homeserver.poison("reminder", Fault::SilenceAccepted);
    let ids = [world.enqueue(ROOM, "reminder").await, world.enqueue(ROOM, "too late").await];
    world.client.execute(MARK, &[]).await.unwrap();
    let _worker = world.worker("w1");
    world.until_resting(ROOM).await;

    world.client.execute(EXPIRE, &[]).await.unwrap();
    world.later(0).await;

    world.assert_settled(&ids).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["reminder"]);
    let finals: Vec<_> =
        world.log().await.into_iter().filter(|row| row.is_final).map(|row| (row.body, row.status)).collect();
    assert_eq!(
        finals,
        [("reminder", "ok"), ("too late", "failed")].map(|(body, status)| (body.to_owned(), status.to_owned()))
    );
}

/// Whoever reads in Logs that it has failed would send it once more.
#[tokio::test]
async fn an_expired_message_that_may_have_arrived_waits_until_its_room_can_be_read() {
    let world = World::new(BINARY).await;
    world.homeserver.poison("reminder", Fault::SilenceAccepted);
    let id = world.enqueue(ROOM, "reminder").await;
    world.client.execute(MARK, &[]).await.unwrap();
    let _worker = world.worker("w1");
    world.until_resting(ROOM).await;

    world.homeserver.fail_shard(&[ROOM], Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
    world.client.execute(EXPIRE, &[]).await.unwrap();
    world.later(0).await;
    let seen = "SELECT EXISTS (SELECT FROM matrix_lane WHERE attempts >= 4 AND lease_until IS NULL)
        OR EXISTS (SELECT FROM matrix_log WHERE is_final)";
    world.until(seen).await;
    assert!(world.log().await.iter().all(|row| !row.is_final), "{:?}", world.log().await);
    world.homeserver.heal();
    world.later(1).await;

    world.assert_settled(&[id]).await;
    assert_eq!(world.homeserver.bodies(ROOM), ["reminder"]);
    assert_eq!(world.log().await.last().map(|row| row.status.clone()).as_deref(), Some("ok"));
}

#[tokio::test]
async fn a_room_that_may_not_be_read_is_asked_once_for_all_expired_messages_of_a_claim() {
    let world = World::new(BINARY).await;
    let _worker = world.worker("w1");
    world.enqueue(ROOM, "first").await;
    world.until_empty().await;
    world.homeserver.fail_shard(&[ROOM], Fault::Refuse { status: 403, errcode: "M_FORBIDDEN" });

    world.client.batch_execute("BEGIN").await.unwrap();
    world.enqueue_many(&[ROOM], "reminder", 5).await;
    world.client.execute(EXPIRE, &[]).await.unwrap();
    world.client.batch_execute("COMMIT").await.unwrap();

    world.until_empty().await;
    let codes: Vec<_> = world.log().await.into_iter().filter_map(|row| row.error_code).collect();
    assert_eq!(codes, ["org.odoo.expired"; 5]);
    assert_eq!(reads(&world), 1);
}

/// A message arrives and its answer is lost; one that was committed late comes before it and fails. That the later one is in the room says
/// nothing about the homeserver of now.
#[tokio::test]
async fn a_message_that_arrived_before_the_head_was_tried_proves_nothing_about_it() {
    let refused = Fault::Refuse { status: 500, errcode: "M_UNKNOWN" };
    for (fault, expires) in [(refused.clone(), true), (refused, false), (Fault::Silence, false)] {
        let mut world = World::new(BINARY).await;
        world.homeserver.poison("lost", Fault::SilenceAccepted);
        world.homeserver.poison("late", fault.clone());
        let open = world.database.connect().await.unwrap();
        let other = std::mem::replace(&mut world.client, open);
        world.client.batch_execute("BEGIN").await.unwrap();
        let late = world.enqueue(ROOM, "late").await;
        let open = std::mem::replace(&mut world.client, other);
        let lost = world.enqueue(ROOM, "lost").await;
        world.client.execute(MARK, &[]).await.unwrap();
        let _worker = world.worker("w1");
        let held = "SELECT EXISTS (SELECT FROM matrix_lane WHERE first_failed_at IS NOT NULL AND lease_until IS NULL)";
        world.until(held).await;
        if expires {
            world.client.execute(EXPIRE, &[]).await.unwrap();
        }

        open.batch_execute("COMMIT").await.unwrap();
        world.later(60).await;
        world.until(&format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {late})")).await;
        world.until("SELECT lease_until IS NULL FROM matrix_lane").await;
        world.homeserver.heal();
        world.later(1).await;

        world.assert_settled(&[late, lost]).await;
        assert_eq!(world.homeserver.bodies(ROOM), ["lost", "late"], "{fault:?}, {expires}");
        let finals: Vec<_> = world.log().await.into_iter().filter(|row| row.is_final).map(|row| row.status).collect();
        assert_eq!(finals, ["ok", "ok"], "{fault:?}, {expires}");
    }
}

/// How often a room was read for what is in it already.
fn reads(world: &World) -> usize {
    world
        .homeserver
        .requests()
        .iter()
        .filter(|request| request.path.last().is_some_and(|part| part == "messages"))
        .count()
}
