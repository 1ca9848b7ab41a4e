//! What `check` finds out: about the server, the rights of our role, and whether notifications arrive. Changes nothing.

use std::{
    future::poll_fn,
    time::{Duration, SystemTime},
};

use tokio::time::timeout;
use tokio_postgres::AsyncMessage;

use super::{Store, StoreError, value};

/// At most this many unneeded rights are shown.
const RIGHTS_SHOWN: i64 = 5;

/// A notification takes milliseconds.
const HEARD_WITHIN: Duration = Duration::from_secs(3);

/// The database server, as this session sees it.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    pub role: String,
    pub database: String,
    pub version: String,
    pub is_superuser: bool,
    /// Its clock minus ours, in seconds.
    pub clock_ahead: f64,
    /// Whether the trigger that notifies workers of new messages exists.
    pub wakes_workers: bool,
}

/// How our role's rights differ from what it needs, each as `table: RIGHT`.
#[derive(Clone, Debug, Default)]
pub struct RoleRights {
    pub missing: Vec<String>,
    /// Only the first ones.
    pub beyond: Vec<String>,
}

/// Rows of the outbox that were deleted and not yet vacuumed.
#[derive(Clone, Debug)]
pub struct DeadRows {
    pub dead: i64,
    pub live: i64,
    pub vacuumed: Option<String>,
}

impl Store {
    pub async fn server_facts(&self) -> Result<ServerFacts, StoreError> {
        let asked = our_clock();
        let rows = self.query(include_str!("../../sql/check_server.sql"), &[]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Other("no row from check_server.sql".to_owned()))?;
        // The server read its clock at some moment between these two.
        let ours = f64::midpoint(asked, our_clock());
        Ok(ServerFacts {
            role: value(row, "role")?,
            database: value(row, "database")?,
            version: value(row, "version")?,
            is_superuser: value(row, "is_superuser")?,
            clock_ahead: value::<f64>(row, "clock_seconds")? - ours,
            wakes_workers: value(row, "wakes_workers")?,
        })
    }

    pub async fn role_rights(&self) -> Result<RoleRights, StoreError> {
        let mut rights = RoleRights::default();
        for row in &self.query(include_str!("../../sql/role_rights.sql"), &[&RIGHTS_SHOWN]).await? {
            let right = format!("{}: {}", value::<&str>(row, 0)?, value::<&str>(row, 1)?);
            if value(row, "is_missing")? { rights.missing.push(right) } else { rights.beyond.push(right) }
        }
        Ok(rights)
    }

    pub async fn dead_rows(&self) -> Result<Option<DeadRows>, StoreError> {
        let rows = self.query(include_str!("../../sql/check_dead_rows.sql"), &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(DeadRows { dead: value(row, "dead")?, live: value(row, "live")?, vacuumed: value(row, "vacuumed")? }))
    }

    /// Whether one of our sessions receives the notification of another one, on a channel that nobody else uses. Behind a
    /// pooler in transaction mode it does not.
    pub async fn hears_notifications(&self) -> Result<bool, StoreError> {
        let channel = format!("matrix_check_{:08x}", fastrand::u32(..));
        let (client, mut connection) = self.link.connect().await?;
        let (heard, hearing) = tokio::sync::oneshot::channel();
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    let _ = heard.send(());
                    break;
                }
            }
        });
        let listened = client.batch_execute(&format!("LISTEN {channel}")).await;
        let answer = match listened {
            Ok(()) => match self.query(include_str!("../../sql/check_notify.sql"), &[&channel]).await {
                Ok(_) => Ok(matches!(timeout(HEARD_WITHIN, hearing).await, Ok(Ok(())))),
                Err(error) => Err(error),
            },
            Err(error) => Err(error.into()),
        };
        driver.abort();
        answer
    }
}

/// Seconds since the epoch by this host's clock.
#[expect(clippy::disallowed_methods, reason = "it is this clock that is judged, by the database's")]
fn our_clock() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
