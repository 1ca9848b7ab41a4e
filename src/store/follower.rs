//! The lease of an account that is followed, and how far it was read. Every write is fenced by owner and epoch.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::Row;

use super::{
    Store, StoreError,
    access::{Access, access},
    backlog::seconds,
    complete::bounded,
    int, value,
};
use crate::message::{BackendId, UserId};

pub(super) const SINCE: &str = include_str!("../../sql/follower_since.sql");

/// How to reach an account that is to be followed, and where to post what is read.
#[derive(Clone, PartialEq)]
pub struct Asking {
    pub backend: BackendId,
    pub config_version: i32,
    pub access: Access,
    /// Odoo wants to have what is written in rooms. Otherwise the account is followed for its keys only.
    pub wants_events: bool,
    /// The homeserver sends it to Odoo, which wants to have what is missing because the homeserver was ended.
    pub wants_missing: bool,
    /// The homeserver calls Odoo, too, and at the same address. If Odoo wants to have the events from the worker, it ignores the homeserver's.
    pub is_pushed: bool,
    pub webhook_url: Option<String>,
    pub webhook_secret_sealed: Option<String>,
    pub database: String,
    /// Messages for encrypted rooms are encrypted.
    pub encrypts: bool,
    /// Room keys are only for devices that are signed by their owner.
    pub only_verified: bool,
}

/// Whether this worker can encrypt, and so follows accounts for their keys.
pub(super) const CAN_ENCRYPT: bool = cfg!(feature = "encryption");

/// For how long Odoo certainly recognises what the homeserver has sent it: it keeps the IDs for a day at least.
pub const KNOWN: Duration = Duration::from_secs(12 * 60 * 60);

/// The right to follow an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Following {
    pub backend: BackendId,
    pub epoch: i64,
    /// Of the configuration with which it is followed.
    pub config_version: i32,
    /// The account that was followed so far, and the position up to which Odoo has accepted everything.
    pub place: Option<(UserId, String)>,
}

/// Why an account is not followed at the moment: the values of `matrix_follower.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Odoo does not accept the events.
    Waiting,
    /// The homeserver does not answer, or refuses the account.
    Stopped,
}

/// What `status` shows about an account that is to be followed. Ages are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FollowerReport {
    pub id: BackendId,
    pub name: String,
    /// The homeserver itself sends everything to Odoo; the worker passes on what it forgets.
    pub is_pushed: bool,
    /// Whether a worker holds its lease.
    pub is_followed: bool,
    pub owner: Option<String>,
    pub state: String,
    pub reason: Option<String>,
    pub state_seconds: Option<f64>,
    pub synced_seconds: Option<f64>,
    pub forwarded_seconds: Option<f64>,
    pub forwarded_total: i64,
}

impl Store {
    /// Leases the accounts that nobody follows. Returns every account that is to be followed, with the lease if it was granted just now,
    /// and when the first of the accounts that other workers follow becomes free unless its lease is renewed.
    /// Without `for_events`, only those that are followed for their keys.
    pub async fn follow(
        &self,
        for_events: bool,
    ) -> Result<(Vec<(Asking, Option<Following>)>, Option<Duration>), StoreError> {
        let (lease, known) = (int(self.lease.as_millis()), int(KNOWN.as_secs()));
        let rows = self
            .query(include_str!("../../sql/follow.sql"), &[&self.name.owner, &lease, &CAN_ENCRYPT, &for_events, &known])
            .await?;
        let mut free = None;
        for row in &rows {
            let next = seconds(value(row, "free_seconds")?);
            free = free.into_iter().chain(next).min();
        }
        let asking = rows.iter().map(|row| Ok((asking(row)?, following(row)?))).collect::<Result<_, StoreError>>()?;
        Ok((asking, free))
    }

    /// Renews a lease; false if another worker has it.
    pub async fn renew_following(&self, following: &Following) -> Result<bool, StoreError> {
        let lease = int(self.lease.as_millis());
        let sql = include_str!("../../sql/follower_renew.sql");
        let rows = self.query(sql, &[&following.backend, &self.name.owner, &following.epoch, &lease]).await?;
        Ok(!rows.is_empty())
    }

    /// Stores that Odoo has accepted everything up to `since`, `accepted` events more than before; false if another worker has the lease.
    /// Without `since`, the next follower begins with what is written from then on.
    pub async fn read_until(
        &self,
        following: &Following,
        account: &UserId,
        since: Option<&str>,
        accepted: i64,
    ) -> Result<bool, StoreError> {
        let (backend, epoch) = (following.backend, following.epoch);
        let rows =
            self.query(SINCE, &[&backend, &self.name.owner, &epoch, &account.as_str(), &since, &accepted]).await?;
        Ok(!rows.is_empty())
    }

    /// Stores why an account is not followed at the moment.
    pub async fn not_following(&self, following: &Following, trouble: Trouble, reason: &str) -> Result<(), StoreError> {
        let sql = include_str!("../../sql/follower_state.sql");
        let (backend, epoch, reason) = (following.backend, following.epoch, bounded(reason));
        self.query(sql, &[&backend, &self.name.owner, &epoch, &trouble.as_str(), &reason]).await.map(drop)
    }

    /// Gives a lease back.
    pub async fn stop_following(&self, following: &Following) -> Result<(), StoreError> {
        let sql = include_str!("../../sql/follower_release.sql");
        self.query(sql, &[&following.backend, &self.name.owner, &following.epoch]).await.map(drop)
    }

    /// Each account that is to be followed; none with a contract older than inbound messages.
    pub async fn report_followers(&self) -> Result<Vec<FollowerReport>, StoreError> {
        match self.query(include_str!("../../sql/report_followers.sql"), &[]).await {
            Ok(rows) => rows.iter().map(report).collect(),
            Err(StoreError::Contract(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl FollowerReport {
    /// The state in one word.
    pub fn word(&self) -> &str {
        if self.is_followed { &self.state } else { "not followed" }
    }

    /// If messages from Matrix do not reach Odoo, or not those that the homeserver forgets, the reason.
    pub fn trouble(&self) -> Option<String> {
        let reason = if !self.is_followed {
            "no worker follows the account at present"
        } else if self.state != "following" {
            self.reason.as_deref().unwrap_or("no reason was given")
        } else {
            return None;
        };
        let what = if self.is_pushed { "what the homeserver forgets cannot be passed on to Odoo: " } else { "" };
        Some(format!("{what}{reason}"))
    }
}

impl Trouble {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }
}

fn asking(row: &Row) -> Result<Asking, StoreError> {
    Ok(Asking {
        backend: value(row, "backend_id")?,
        config_version: value::<Option<i32>>(row, "config_version")?.unwrap_or_default(),
        access: access(row)?,
        wants_events: value(row, "wants_events")?,
        wants_missing: value(row, "wants_missing")?,
        is_pushed: value(row, "is_pushed")?,
        webhook_url: value(row, "inbound_url")?,
        webhook_secret_sealed: value(row, "inbound_secret_sealed")?,
        database: value(row, "database")?,
        encrypts: value(row, "encrypts")?,
        only_verified: value(row, "only_verified")?,
    })
}

fn following(row: &Row) -> Result<Option<Following>, StoreError> {
    let Some(epoch) = value(row, "epoch")? else { return Ok(None) };
    // One that cannot exist is not the account that is followed now, as after a change of the account.
    let account = value::<Option<&str>>(row, "matrix_user_id")?.and_then(|account| UserId::parse(account).ok());
    let config_version = value::<Option<i32>>(row, "config_version")?.unwrap_or_default();
    let place = account.zip(value(row, "since")?);
    Ok(Some(Following { backend: value(row, "backend_id")?, epoch, config_version, place }))
}

fn report(row: &Row) -> Result<FollowerReport, StoreError> {
    let age = |column| Ok::<_, StoreError>(seconds(value(row, column)?).map(|time| time.as_secs_f64()));
    Ok(FollowerReport {
        id: value(row, "id")?,
        name: value(row, "name")?,
        is_pushed: value(row, "is_pushed")?,
        is_followed: value(row, "is_followed")?,
        owner: value(row, "owner")?,
        state: value(row, "state")?,
        reason: value(row, "reason")?,
        state_seconds: age("state_seconds")?,
        synced_seconds: age("synced_seconds")?,
        forwarded_seconds: age("forwarded_seconds")?,
        forwarded_total: value::<Option<i64>>(row, "forwarded_total")?.unwrap_or_default(),
    })
}
