//! Every statement that the worker runs, from `sql/`, with the types of its parameters and results.

mod access;
mod account;
mod asked;
mod attempts;
mod backlog;
mod claim;
mod complete;
mod connect;
#[cfg(feature = "encryption")]
mod crypto;
mod error;
mod files;
mod follower;
mod history;
mod inspect;
mod keys_report;
mod listener;
pub mod locks;
mod migrations;
mod pooler;
mod report;
mod ring;
mod status;
mod tenure;
mod threads;
mod workers;

use std::{collections::HashMap, sync::Arc, time::Duration};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::{
    sync::Semaphore,
    time::{error::Elapsed, timeout},
};
use tokio_postgres::{
    Row,
    error::SqlState,
    types::{FromSql, ToSql},
};

#[cfg(feature = "encryption")]
pub use self::crypto::{ItemName, KeysFound, KeysState, KeysTaken, SetupAsked, SetupEnd, SetupRequest};
pub use self::{
    access::{Access, ActingRow},
    account::AccountLock,
    asked::Waiting,
    backlog::{Backlog, Count},
    claim::{Claim, HeldSince, Lacked, Wanted},
    complete::{Batch, Completion, Held, Settle, Verdict},
    connect::{PLANNER, UrlError},
    error::StoreError,
    files::{FileKey, KnownFile},
    follower::{Asking, FollowerReport, Following, KNOWN, Trouble},
    history::{Asked, Found, Happened},
    inspect::{DeadRows, RoleRights, ServerFacts},
    keys_report::{KeysReport, KeysWord},
    listener::{Listener, Wakeups},
    migrations::{MIGRATIONS, OLDEST, newest, schema},
    report::{BackendReport, LaneReport, NOT_FAILED, ServerReport, SnapshotReport, WorkerReport},
    ring::{Resume, Ring, Standing, Walk},
    threads::Root,
    workers::Seen,
};
use self::{attempts::Attempts, tenure::Name};
use crate::{
    failpoint::{self, Point},
    message::{BackendId, Lane, Lease},
    metrics::Metrics,
};

const RENEW: &str = include_str!("../sql/renew.sql");

/// The connections that the worker needs at the same time: for claim, completion, renewal, and one for everything else.
const CONNECTIONS: usize = 4;

/// The database, as one worker process sees it. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    /// How to connect outside the pool.
    link: connect::Link,
    attempts: Arc<Attempts>,
    /// Free while no connection is kept for an account's lock.
    account_lock: Arc<Semaphore>,
    name: Arc<Name>,
    lease: Duration,
    metrics: Metrics,
}

/// A backend as Odoo has configured it.
#[derive(Clone, Debug)]
pub struct BackendRow {
    pub id: BackendId,
    pub name: String,
    pub access: Access,
    pub hold_on_outage: bool,
    pub config_version: i32,
    /// How long ago the address or the token was last set, if that is known.
    pub configured_ago: Option<Duration>,
    /// Whether it was set up in this database, and not in one that this database is a copy of.
    pub is_at_home: bool,
    /// Messages for encrypted rooms are encrypted, by a worker that can; otherwise they are refused.
    pub encrypts: bool,
    /// New direct rooms are encrypted.
    pub encrypts_new_rooms: bool,
}

/// Whether `url` can be a `DATABASE_URL`; connects to nothing.
///
/// # Errors
/// Says why it cannot.
pub fn check_url(url: &str) -> Result<(), UrlError> {
    connect::Link::new(url).map(drop)
}

impl Store {
    /// Builds the pool for the worker called `name`; connects only when the first statement needs it.
    ///
    /// # Errors
    /// When `url`, the `DATABASE_URL`, cannot be used.
    pub fn new(url: &str, name: &str, lease: Duration, metrics: Metrics) -> Result<Self, UrlError> {
        let link = connect::Link::new(url)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(link.config.clone(), link.tls.clone(), recycling);
        let setup: Arc<str> = link.setup.as_str().into();
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(connect::ANSWER_TIMEOUT))
            .create_timeout(Some(connect::ANSWER_TIMEOUT))
            .recycle_timeout(Some(connect::ANSWER_TIMEOUT))
            .post_create(Hook::async_fn(move |client, _| {
                let setup = setup.clone();
                Box::pin(async move { client.batch_execute(&setup).await.map_err(HookError::Backend) })
            }))
            .pre_recycle(Hook::sync_fn({
                let reconnects = metrics.db_reconnects.clone();
                move |client, _| {
                    if client.is_closed() {
                        reconnects.inc();
                    }
                    Ok(())
                }
            }))
            .build()
            .expect("the pool has a runtime for its time limits");
        Ok(Self {
            pool,
            link,
            attempts: Arc::default(),
            account_lock: Arc::new(Semaphore::new(1)),
            name: Arc::new(Name::new(name)),
            lease,
            metrics,
        })
    }

    /// A listener on a connection of its own, which also holds this worker's name.
    pub fn listener(&self) -> Listener {
        Listener::new(self.link.clone(), self.name.clone(), self.metrics.clone(), self.attempts.clone())
    }

    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether the database has a contract that this worker can use.
    ///
    /// # Errors
    /// [`StoreError::Contract`] says which contract it has and what to upgrade; [`StoreError::Pooler`] says that a pooler is
    /// between us and the server.
    pub async fn check_contract(&self) -> Result<(), StoreError> {
        self.check_sessions().await?;
        let rows = self.query(include_str!("../sql/contract_version.sql"), &[]).await?;
        let found: Option<String> = rows.first().map(|row| value(row, 0)).transpose()?.flatten();
        migrations::judge(found.as_deref())
    }

    /// All active backends.
    pub async fn backends(&self) -> Result<Vec<BackendRow>, StoreError> {
        let rows = self.query(include_str!("../sql/backends.sql"), &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(BackendRow {
                    id: value(row, "id")?,
                    name: value(row, "name")?,
                    access: access::access(row)?,
                    hold_on_outage: value(row, "hold_on_outage")?,
                    config_version: value::<Option<i32>>(row, "config_version")?.unwrap_or_default(),
                    configured_ago: backlog::seconds(value(row, "configured_seconds")?),
                    is_at_home: value(row, "is_at_home")?,
                    encrypts: value(row, "encrypts")?,
                    encrypts_new_rooms: value(row, "encrypts_new_rooms")?,
                })
            })
            .collect()
    }

    /// Renews leases and returns those that are still ours, with whether each was renewed: another session may have it locked.
    pub async fn renew(&self, held: &[Lease]) -> Result<HashMap<Lease, bool>, StoreError> {
        let (lanes, epochs) = columns(held);
        let rows = self.query(RENEW, &[&self.name.owner, &lanes, &epochs, &int(self.lease.as_millis())]).await?;
        rows.iter().map(|row| Ok((lease(row)?, value(row, 2)?))).collect()
    }

    /// Gives leases back without changing their messages.
    pub async fn give_back(&self, held: &[Lease]) -> Result<(), StoreError> {
        let (lanes, epochs) = columns(held);
        self.query(include_str!("../sql/give_back.sql"), &[&self.name.owner, &lanes, &epochs]).await.map(drop)
    }

    /// How many messages wait.
    pub async fn waiting(&self) -> Result<Count, StoreError> {
        let rows = self.query(include_str!("../sql/waiting.sql"), &[&(backlog::COUNTED + 1)]).await?;
        Ok(Count::up_to(backlog::COUNTED, rows.first().map_or(Ok(0), |row| value(row, 0))?))
    }

    /// Whether a message waits that can be sent without anybody having to fix something.
    pub async fn has_sendable(&self) -> Result<bool, StoreError> {
        let rows = self.query(include_str!("../sql/sendable.sql"), &[]).await?;
        rows.first().map_or(Ok(false), |row| value(row, 0))
    }

    /// Runs one statement in its own transaction. A connection that does not answer in time is given up.
    async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        let client = self.client().await?;
        let run = async {
            let statement = client.prepare_cached(sql).await?;
            failpoint::in_flight(failpoint_of(sql), client.query(&statement, params)).await
        };
        self.answered(timeout(connect::ANSWER_TIMEOUT, run).await, client)
    }

    /// A connection: an idle one, else a new one when it is time for another attempt.
    async fn client(&self) -> Result<Object, StoreError> {
        if self.pool.status().available == 0 {
            self.attempts.turn().await?;
        }
        let client = self.pool.get().await;
        match &client {
            Ok(_) => self.attempts.worked(),
            // If there are working connections, the server is up and only refuses more of them.
            Err(_) if self.pool.status().size == 0 => self.attempts.failed(),
            Err(_) => {}
        }
        Ok(client?)
    }

    fn answered<T>(
        &self,
        answer: Result<Result<T, tokio_postgres::Error>, Elapsed>,
        client: Object,
    ) -> Result<T, StoreError> {
        if let Ok(result) = answer {
            if result.as_ref().is_err_and(|error| error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)) {
                // The server is a standby, or became one: only a new connection finds the server that accepts writes.
                drop(Object::take(client));
                self.pool.retain(|_, _| false);
                self.metrics.db_reconnects.inc();
            }
            return Ok(result?);
        }
        drop(Object::take(client));
        // What happened to this connection has most likely happened to the idle ones, and each would take as much time to fail.
        self.pool.retain(|_, _| false);
        self.metrics.db_reconnects.inc();
        Err(StoreError::Cancelled("a statement was not answered in time".to_owned()))
    }
}

/// The statements at which a test can stop the worker.
fn failpoint_of(sql: &str) -> Option<Point> {
    match sql {
        complete::COMPLETE => Some(Point::InCommit),
        RENEW => Some(Point::InRenewal),
        follower::SINCE => Some(Point::InSince),
        _ => None,
    }
}

fn value<'a, T: FromSql<'a>>(
    row: &'a Row,
    column: impl tokio_postgres::row::RowIndex + std::fmt::Display,
) -> Result<T, StoreError> {
    row.try_get(column).map_err(StoreError::from)
}

/// Leases as two arrays for a statement's parameters.
fn columns(leases: &[Lease]) -> (Vec<&str>, Vec<i64>) {
    leases.iter().map(|lease| (lease.lane.as_str(), lease.epoch)).unzip()
}

/// The lease in the first columns of a row.
fn lease(row: &Row) -> Result<Lease, StoreError> {
    Ok(Lease { lane: Lane::new(value::<&str>(row, 0)?), epoch: value(row, 1)? })
}

/// A size or a short time as PostgreSQL's `integer`.
fn int(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

/// A time as PostgreSQL's `bigint` of milliseconds.
fn millis(time: Duration) -> i64 {
    time.as_millis().try_into().unwrap_or(i64::MAX)
}
