//! The wake-up: a separate connection that LISTENs, checks that it still receives notifications, and holds this worker's name.
//!
//! It is not part of the pool, whose connections drop notifications and open transactions.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Client};
use tracing::{info, warn};

use super::{
    StoreError,
    attempts::Attempts,
    connect::{Link, PgConnection},
    locks,
    tenure::{GHOST_GONE_AFTER, Name, SETTLED_AFTER, Tenure},
};
use crate::{backoff::Backoff, metrics::Metrics};

/// How often the listener asks whether it is still registered.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The listener's queries are answered at once or never: with the heartbeat, a dead connection is noticed within 13 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How soon a name that another session still holds is asked for again: that may be a predecessor's session, about to end.
const NAME_RETRY: Duration = Duration::from_millis(500);

/// Whether the channel is registered, and whether the server has become read-only.
const ALIVE: &str = "SELECT EXISTS (SELECT FROM pg_listening_channels() AS c WHERE c = 'matrix_outbox'), \
    current_setting('transaction_read_only')::boolean";

/// What the listener reports to the rest of the worker.
#[derive(Clone, Debug, Default)]
pub struct Wakeups {
    wake: Arc<Notify>,
    is_up: Gauge,
    account: Arc<Notify>,
}

impl Wakeups {
    /// Ends when something may have been queued since the last call. Several wake-ups in between count as one.
    pub async fn next(&self) {
        self.wake.notified().await;
    }

    /// Wakes the task that waits, or the next one to wait.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Ends when a followed account may have been freed.
    pub async fn account_freed(&self) {
        self.account.notified().await;
    }

    /// Whether notifications arrive. Without them delivery continues by polling.
    pub fn is_up(&self) -> bool {
        self.is_up.get() == 1
    }
}

/// Listens until it is dropped.
pub struct Listener {
    link: Link,
    name: Arc<Name>,
    wakeups: Wakeups,
    metrics: Metrics,
    attempts: Arc<Attempts>,
}

impl Listener {
    pub(super) fn new(link: Link, name: Arc<Name>, metrics: Metrics, attempts: Arc<Attempts>) -> Self {
        let wakeups = Wakeups { wake: Arc::default(), is_up: metrics.listener_up.clone(), account: Arc::default() };
        Self { link, name, wakeups, metrics, attempts }
    }

    pub fn wakeups(&self) -> Wakeups {
        self.wakeups.clone()
    }

    /// Connects, listens and reconnects for ever. Waits until the connection ends; the heartbeat notices a broken one.
    pub async fn run(self) {
        let mut streak = Backoff::new(Duration::from_millis(500), Duration::from_secs(2)).start();
        loop {
            let Err(error) = self.session(&mut streak).await;
            if self.wakeups.is_up.set(0) == 1 {
                self.metrics.db_reconnects.inc();
            }
            let pause = streak.next_pause();
            warn!(%error, pause_ms = pause.as_millis(), "Listener lost its connection; polling until it is back");
            sleep(pause).await;
        }
    }

    async fn session(&self, streak: &mut crate::backoff::Streak) -> Result<Infallible, StoreError> {
        self.attempts.turn().await?;
        let connected = answered(self.link.connect()).await;
        match &connected {
            Ok(_) => self.attempts.worked(),
            Err(_) => self.attempts.failed(),
        }
        let (client, connection) = connected?;
        let mut driver = AbortOnDrop(tokio::spawn(drive(connection, self.wakeups.clone())));
        answered(client.batch_execute(&self.link.setup)).await?;
        answered(client.batch_execute("LISTEN matrix_outbox")).await?;
        let asked = Instant::now();
        let mut has_name = self.take_name(&client).await?;
        // Only now, because a worker that lacks rights would otherwise reconnect again and again without a pause.
        streak.reset();
        self.wakeups.is_up.set(1);
        info!("Listening for new messages");
        // For what was queued while nobody listened.
        self.wakeups.wake();
        loop {
            let is_settled = has_name || self.is_taken(asked.elapsed());
            tokio::select! {
                () = sleep(if is_settled { HEARTBEAT } else { NAME_RETRY }) => {}
                _ = &mut driver.0 => return Err(StoreError::Unavailable("the server closed the connection".to_owned())),
            }
            if !has_name {
                has_name = self.take_name(&client).await?;
            }
            let row = answered(client.query_one(ALIVE, &[])).await?;
            if !row.try_get::<_, bool>(0)? {
                return Err(StoreError::Unavailable("the channel was no longer registered".to_owned()));
            }
            // Nothing is queued on a read-only server: the messages are written to another one.
            if row.try_get(1)? {
                return Err(StoreError::Unavailable("the server is read-only".to_owned()));
            }
        }
    }

    /// Whether another process has the name. It is asked for repeatedly, because the holder may be dead.
    fn is_taken(&self, asked_for: Duration) -> bool {
        let patience = if self.name.tenure() == Tenure::Ours { GHOST_GONE_AFTER } else { SETTLED_AFTER };
        if self.name.tenure() == Tenure::Taken || asked_for < patience {
            return self.name.tenure() == Tenure::Taken;
        }
        self.name.settle(Tenure::Taken);
        warn!(
            worker.name = self.name.name,
            "Another running worker has this name. Messages are safe, but the log cannot distinguish the two: give one of them \
             another WORKER_NAME (of a service: in its worker.env) and restart it"
        );
        true
    }

    /// Holds the name as a session lock. A process that gets it when it starts knows that the previous holder is dead,
    /// and frees its lanes at once instead of waiting for the leases to end. A process that gets it later must not do that:
    /// the holder may have run beside it, and may still be running without its session.
    async fn take_name(&self, client: &Client) -> Result<bool, StoreError> {
        let sql = include_str!("../../sql/take_name.sql");
        let row = answered(client.query_one(sql, &[&locks::WORKER_NAME, &self.name.name])).await?;
        if !row.try_get(0)? {
            return Ok(false);
        }
        if self.name.tenure() == Tenure::Unknown {
            self.take_over(client).await?;
        }
        if self.name.settle(Tenure::Ours) == Tenure::Taken {
            info!(worker.name = self.name.name, "No other worker has this name any more");
        }
        Ok(true)
    }

    async fn take_over(&self, client: &Client) -> Result<(), StoreError> {
        let (prefix, owner) = (format!("{}/", self.name.name), &self.name.owner);
        let freed = answered(client.query(include_str!("../../sql/take_over.sql"), &[&prefix, owner])).await?;
        if !freed.is_empty() {
            self.metrics.leases_taken_over.inc_by(freed.len() as u64);
            info!(lanes = freed.len(), "Took over the lanes of this worker's previous process");
            self.wakeups.wake();
        }
        let accounts = include_str!("../../sql/take_over_accounts.sql");
        match answered(client.query(accounts, &[&prefix, owner])).await {
            Ok(freed) if freed.is_empty() => {}
            Ok(_) => self.wakeups.account.notify_one(),
            // The previous contract has no such table, so with it no account is followed.
            Err(StoreError::Contract(_) | StoreError::Privilege(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

async fn answered<T>(call: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
    match timeout(ANSWER_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::Unavailable("a statement was not answered in time".to_owned())),
    }
}

/// Drives the connection and turns notifications into wake-ups, until the connection ends.
async fn drive(mut connection: PgConnection, wakeups: Wakeups) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            wakeups.wake();
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
