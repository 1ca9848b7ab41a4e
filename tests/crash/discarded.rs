//! Odoo discards messages of a lane whose lease has run out, while the stalled worker still waits for an answer.

use std::time::Duration;

use stack::{process::Signal, world::World};

use crate::{BINARY, common::alone};

const ROOM: &str = "!case:double.test";

/// As `action_discard` of mail_matrix: the next epoch shuts the worker out.
const DISCARD: &str = "
    WITH free AS MATERIALIZED (
        SELECT lane FROM matrix_lane
        WHERE lease_until IS NULL OR lease_until < now() AT TIME ZONE 'UTC'
        ORDER BY lane FOR UPDATE SKIP LOCKED
    ), fenced AS (
        UPDATE matrix_lane AS l SET epoch = l.epoch + 1, lease_until = NULL FROM free WHERE l.lane = free.lane
    ), gone AS (
        DELETE FROM matrix_outbox AS o USING free WHERE o.lane = free.lane RETURNING o.*
    )
    INSERT INTO matrix_log (outbox_id, backend_id, room_id, txn_id, status, error_code, payload)
    SELECT id, backend_id, room_id, txn_id, 'failed', 'org.odoo.discarded', content ->> 'body' FROM gone";

#[tokio::test]
async fn a_stalled_worker_sends_nothing_more_of_what_was_discarded() {
    let _alone = alone().await;
    let world = World::new(BINARY).await;
    world.homeserver.hold_answers();
    let ids = world.enqueue_many(&[ROOM], "message", 5).await;
    // The pause before the retry is long enough for a renewal of the lease in between.
    let worker = world.worker_with("w1", &[("RETRY_DELAY_MS", "1500"), ("WORKER_LEASE_SECONDS", "4")]);
    world.homeserver.until_events(1).await;
    worker.signal(Signal::STOP).unwrap();
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until > now() AT TIME ZONE 'UTC')").await;

    world.client.batch_execute(DISCARD).await.unwrap();
    worker.signal(Signal::CONT).unwrap();
    // The request has timed out meanwhile. Before the retry the worker asks for its lease again, which it would get without the fence,
    // and go on from memory.
    let asked = || async {
        let sql = "SELECT EXISTS (SELECT FROM matrix_lane WHERE lease_until > now() AT TIME ZONE 'UTC')";
        let is_renewed: bool = world.client.query_one(sql, &[]).await.unwrap().get(0);
        (is_renewed || world.worker_logs().contains("Leases were taken over")).then_some(())
    };
    worker.until("asked for its lease again", Duration::from_secs(30), asked).await.unwrap();
    world.homeserver.release();
    // When something else has arrived, the lane has sent what it is going to send.
    let later = world.enqueue("!other:double.test", "later").await;
    world.until(&format!("SELECT EXISTS (SELECT FROM matrix_log WHERE outbox_id = {later} AND status = 'ok')")).await;
    world.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;

    assert_eq!(world.homeserver.bodies(ROOM), ["message 1"], "only what was on its way");
    let log = world.log().await;
    for id in ids {
        let rows: Vec<_> = log.iter().filter(|row| row.outbox_id == id).map(|row| row.error_code.as_deref()).collect();
        assert_eq!(rows, [Some("org.odoo.discarded")]);
    }
}
