//! Follows accounts: reads what others write in Matrix and passes it on to Odoo. Only one worker at a time follows an account, by
//! lease and epoch. What it does for the account is in `account`.

mod account;
mod batch;
mod clients;
#[cfg(feature = "encryption")]
mod decrypt;
#[cfg(feature = "encryption")]
mod file_keys;
mod forward;
#[cfg(feature = "encryption")]
mod keys;
mod missing;
mod post;
mod trouble;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::sleep,
};
use tracing::{Instrument as _, error, error_span, info, warn};

use self::account::Account;
use crate::{
    lane::Context,
    leases::Deadline,
    message::BackendId,
    metrics::OfBackend,
    seal::Keys,
    store::{Asking, Following, StoreError, Wakeups},
};

/// How often to look for accounts without a follower, and for changes of their configuration.
const PERIOD: Duration = Duration::from_secs(5);

/// How soon after the end of another worker's lease we ask for the account.
const AFTER_LEASE: Duration = Duration::from_millis(50);

/// How long to wait when the database is not what the worker needs.
const CONTRACT_PERIOD: Duration = Duration::from_secs(30);

/// What following needs of the configuration.
pub(crate) struct Setup {
    pub keys: Keys,
    pub http_timeout: Duration,
    /// Accounts are followed for what is written, too, and not only for their keys.
    pub for_events: bool,
}

/// An account that this process follows.
struct Task {
    asking: Asking,
    following: Following,
    handle: JoinHandle<()>,
}

/// Looks after all accounts until the worker stops.
pub(crate) struct Followers {
    context: Arc<Context>,
    setup: Setup,
    wakeups: Wakeups,
    tasks: HashMap<BackendId, Task>,
}

impl Followers {
    pub(crate) fn new(context: Arc<Context>, setup: Setup, wakeups: Wakeups) -> Self {
        Self { context, setup, wakeups, tasks: HashMap::new() }
    }

    /// `asks`: whether any account is to be followed; `None` if the contract is too old for that. Ends with the worker.
    pub(crate) async fn run(mut self, asks: watch::Receiver<Option<bool>>, is_over: Arc<Notify>) {
        let shutdown = self.context.shutdown.clone();
        tokio::select! {
            () = self.look_after(asks) => {}
            () = shutdown.draining() => {}
            () = is_over.notified() => {}
        }
        for (_, task) in std::mem::take(&mut self.tasks) {
            self.stop(task).await;
        }
    }

    async fn look_after(&mut self, mut asks: watch::Receiver<Option<bool>>) {
        let mut is_forgotten = false;
        loop {
            let now = *asks.borrow_and_update();
            let looked = match now {
                None => Ok(PERIOD),
                Some(true) => {
                    is_forgotten = false;
                    self.round().await
                }
                Some(false) if is_forgotten => Ok(PERIOD),
                Some(false) => self.round().await.inspect(|_| is_forgotten = true),
            };
            let pause = match looked {
                Ok(pause) => pause,
                Err(error) if error.is_passing() => {
                    warn!(%error, "The accounts to follow could not be read; trying again");
                    PERIOD
                }
                Err(error) => {
                    error!(%error, "No account can be followed until this is fixed");
                    CONTRACT_PERIOD
                }
            };
            let is_idle = now != Some(true) && is_forgotten == (now == Some(false));
            // Waits for the next look, until an account is free, or until what is asked for changes.
            tokio::select! {
                () = sleep(pause), if !is_idle => {}
                () = self.wakeups.account_freed(), if !is_idle => {}
                changed = asks.changed() => if changed.is_err() { std::future::pending().await },
            }
        }
    }

    /// Follows accounts that nobody follows, and stops following those that should not be followed any more or whose configuration has changed.
    /// Returns when to look again.
    async fn round(&mut self) -> Result<Duration, StoreError> {
        let asked = Instant::now();
        let (rows, free) = self.context.store.follow(self.setup.for_events).await?;
        let known = std::mem::take(&mut self.tasks);
        let mut pause = free.map_or(PERIOD, |free| PERIOD.min(free + AFTER_LEASE));
        for (backend, task) in known {
            let is_current = rows.iter().any(|(asking, leased)| *asking == task.asking && leased.is_none());
            if is_current && !task.handle.is_finished() {
                self.tasks.insert(backend, task);
            } else {
                self.stop(task).await;
                // It is free now, and can be followed with its present configuration.
                pause = AFTER_LEASE;
            }
        }
        for (asking, following) in rows {
            if let Some(following) = following {
                self.start(asking, following, Deadline::new(asked + self.context.store.lease()));
            }
        }
        Ok(pause)
    }

    fn start(&mut self, asking: Asking, following: Following, deadline: Deadline) {
        info!(backend.id = asking.backend, epoch = following.epoch, "Following the account");
        let account = Account::new(self.context.clone(), &self.setup, asking.clone(), following.clone(), deadline);
        let span = error_span!("account", backend.id = asking.backend);
        let handle = tokio::spawn(account.follow().instrument(span));
        self.tasks.insert(asking.backend, Task { asking, following, handle });
    }

    async fn stop(&self, task: Task) {
        task.handle.abort();
        // It may have been stopped at any point: the next follower posts again what it has posted, and Odoo recognises it.
        if task.handle.await.is_err_and(|error| error.is_panic()) {
            error!(backend.id = task.asking.backend, "The task that follows this account has panicked");
        }
        self.context.rooms.of(task.asking.backend).close();
        #[cfg(feature = "encryption")]
        self.context.devices.remove(task.asking.backend);
        let store = &self.context.store;
        self.context.metrics.following.remove(&OfBackend { backend: task.asking.backend });
        if let Err(error) = store.stop_following(&task.following).await {
            warn!(%error, backend.id = task.asking.backend, "The lease of an account could not be given back; it will end by itself");
        }
    }
}
