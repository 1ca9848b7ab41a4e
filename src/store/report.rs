//! Reports for operators: the state of backends, workers, lanes and the database. Not used on the path that sends messages.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::Row;

use super::{
    Store, StoreError,
    backlog::{COUNTED, Count, seconds},
    value,
};
use crate::message::BackendId;

/// At most this many messages of one lane are counted.
const COUNTED_OF_LANE: i64 = 1_000;

/// A snapshot that is held for longer slows every claim down.
const LONG_SNAPSHOT: Duration = Duration::from_secs(60);

/// The same, for when only its age in transactions is visible.
const LONG_SNAPSHOT_TRANSACTIONS: i64 = 10_000;

/// With these error codes Odoo logs as failed what is not a failure to send a message: there was nothing to send, a person discarded it,
/// or it came from the room.
pub const NOT_FAILED: [&str; 5] =
    ["org.odoo.no_room", "org.odoo.off", "org.odoo.discarded", "org.odoo.unreadable", "org.odoo.read_later"];

/// Ages and future times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackendReport {
    pub id: BackendId,
    pub name: String,
    pub is_active: bool,
    /// A value of [`crate::message::State`].
    pub state: String,
    pub reason: Option<String>,
    pub state_seconds: Option<f64>,
    /// When a limited backend sends again, or a stopped one is probed again.
    pub due_seconds: Option<f64>,
    #[serde(flatten)]
    pub waiting: Count,
    pub oldest_seconds: Option<f64>,
    pub sent_last_hour: i64,
    /// Failed for good; messages that are held for a later try count as waiting.
    pub failed_last_hour: i64,
    pub direct_rooms: i64,
    /// People whose messages wait after a failure, or have failed for good within a day.
    pub people_unreached: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerReport {
    pub name: String,
    pub hostname: Option<String>,
    pub pid: Option<i32>,
    pub version: Option<String>,
    pub sent_total: i64,
    pub failed_total: i64,
    pub started_seconds: f64,
    pub seen_seconds: f64,
}

/// The session that holds the oldest snapshot for too long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SnapshotReport {
    pub pid: i32,
    pub application: Option<String>,
    pub transactions: i64,
    /// `None`, like `query_start`: this role may not see it.
    pub transaction_seconds: Option<f64>,
    pub query_start: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerReport {
    /// UTC.
    pub now: String,
    /// From 0 to 1. If the queue is full, every COMMIT that notifies fails.
    pub notification_queue_usage: f64,
    /// Whether this role may see how long the transactions of others have been running.
    pub sees_all_sessions: bool,
    pub oldest_snapshot: Option<SnapshotReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LaneReport {
    pub lane: String,
    #[serde(flatten)]
    pub waiting: Count,
    /// The message that is sent next.
    pub head_id: Option<i64>,
    pub head_seconds: Option<f64>,
    pub attempts: i32,
    pub last_error: Option<String>,
    pub retry_seconds: Option<f64>,
    /// The owner of the lease, as `<worker>/<process>`.
    pub owner: Option<String>,
    pub lease_seconds: Option<f64>,
}

impl Store {
    pub async fn report_backends(&self) -> Result<Vec<BackendReport>, StoreError> {
        let sql = include_str!("../../sql/report_backends.sql");
        let rows = self.query(sql, &[&(COUNTED + 1), &NOT_FAILED.as_slice()]).await?;
        rows.iter().map(backend).collect()
    }

    pub async fn report_workers(&self) -> Result<Vec<WorkerReport>, StoreError> {
        let rows = self.query(include_str!("../../sql/report_workers.sql"), &[]).await?;
        rows.iter().map(worker).collect()
    }

    /// What else in this database server can slow delivery down.
    pub async fn report_server(&self) -> Result<ServerReport, StoreError> {
        let snapshots = self
            .query(
                include_str!("../../sql/report_snapshots.sql"),
                &[&LONG_SNAPSHOT.as_secs_f64(), &LONG_SNAPSHOT_TRANSACTIONS],
            )
            .await?;
        let server = self.query(include_str!("../../sql/report_server.sql"), &[]).await?;
        let row = server.first().ok_or_else(|| StoreError::Other("no row from report_server.sql".to_owned()))?;
        Ok(ServerReport {
            now: value(row, "now")?,
            notification_queue_usage: value(row, "queue_usage")?,
            sees_all_sessions: value(row, "sees_all")?,
            oldest_snapshot: snapshots.first().map(snapshot).transpose()?,
        })
    }

    /// At most `most` lanes with messages, held or leased ones, of one backend or of all; or only those among them whose next message has
    /// failed and waits for another try.
    pub async fn report_lanes(
        &self,
        only: Option<BackendId>,
        most: i32,
        is_troubled: bool,
    ) -> Result<Vec<LaneReport>, StoreError> {
        let sql = include_str!("../../sql/report_lanes.sql");
        let rows = self.query(sql, &[&only, &most, &(COUNTED_OF_LANE + 1), &is_troubled]).await?;
        rows.iter().map(lane).collect()
    }

    /// All backends by name, active or not.
    pub async fn backend_names(&self) -> Result<Vec<(BackendId, String)>, StoreError> {
        let rows = self.query(include_str!("../../sql/backend_names.sql"), &[]).await?;
        rows.iter().map(|row| Ok((value(row, "id")?, value(row, "name")?))).collect()
    }
}

fn backend(row: &Row) -> Result<BackendReport, StoreError> {
    Ok(BackendReport {
        id: value(row, "id")?,
        name: value(row, "name")?,
        is_active: value(row, "is_active")?,
        state: value(row, "state")?,
        reason: value(row, "reason")?,
        state_seconds: age(row, "state_seconds")?,
        due_seconds: age(row, "due_seconds")?,
        waiting: Count::up_to(COUNTED, value(row, "messages")?),
        oldest_seconds: age(row, "oldest_seconds")?,
        sent_last_hour: value(row, "sent")?,
        failed_last_hour: value(row, "failed")?,
        direct_rooms: value(row, "direct_rooms")?,
        people_unreached: value(row, "unreached")?,
    })
}

fn worker(row: &Row) -> Result<WorkerReport, StoreError> {
    Ok(WorkerReport {
        name: value(row, "name")?,
        hostname: value(row, "hostname")?,
        pid: value(row, "pid")?,
        version: value(row, "version")?,
        sent_total: value(row, "sent_total")?,
        failed_total: value(row, "failed_total")?,
        started_seconds: age(row, "started_seconds")?.unwrap_or_default(),
        seen_seconds: age(row, "seen_seconds")?.unwrap_or_default(),
    })
}

fn snapshot(row: &Row) -> Result<SnapshotReport, StoreError> {
    Ok(SnapshotReport {
        pid: value(row, "pid")?,
        application: value::<Option<String>>(row, "application_name")?.filter(|name| !name.is_empty()),
        transactions: value(row, "transactions")?,
        transaction_seconds: age(row, "xact_seconds")?,
        query_start: value(row, "query_start")?,
    })
}

fn lane(row: &Row) -> Result<LaneReport, StoreError> {
    Ok(LaneReport {
        lane: value(row, "lane")?,
        waiting: Count::up_to(COUNTED_OF_LANE, value(row, "messages")?),
        head_id: value(row, "head_id")?,
        head_seconds: age(row, "head_seconds")?,
        attempts: value(row, "attempts")?,
        last_error: value(row, "last_error")?,
        retry_seconds: value::<Option<f64>>(row, "retry_seconds")?.filter(|seconds| *seconds > 0.0),
        owner: value(row, "owner")?,
        lease_seconds: age(row, "lease_seconds")?,
    })
}

fn age(row: &Row, column: &str) -> Result<Option<f64>, StoreError> {
    Ok(seconds(value(row, column)?).map(|time| time.as_secs_f64()))
}
