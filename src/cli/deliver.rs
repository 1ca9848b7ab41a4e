//! `run`, which delivers until it is stopped, and `drain`, which ends when nothing is left.

use std::{convert::Infallible, future::pending, time::Duration};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use tracing::{info, warn};

use super::{CliError, connect, open};
use crate::{
    config::Config,
    endpoint::Endpoint,
    environment,
    health::Health,
    metrics::{Metrics, Totals},
    runner::{self, Until},
    shutdown::{self, Shutdown},
    store::{Store, StoreError},
    systemd,
    terminal::Progress,
};

/// A number that changes faster cannot be read.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// How often `run` checks whether the tables that it needs exist.
const CONTRACT_POLL: Duration = Duration::from_secs(10);

pub(super) async fn run(config: &Config) -> Result<(), CliError> {
    let (signals, shutdown) = stop_on_signals(config.shutdown_grace)?;
    let metrics = Metrics::default();
    let store = connect(config, metrics.clone())?;
    let health = Health::default();
    let watchers = watchers(config, &health, &metrics).await?;
    info!(worker.name = config.worker_name, version = env!("CARGO_PKG_VERSION"), "Started");
    // Ready means: running. A missing table is reported in the status, because an upgrade of Odoo must not kill the service.
    systemd::ready();
    let waited = wait_for_contract(&store, &shutdown, &health).await;
    if let Ok(true) = waited {
        deliver(config, store, metrics, shutdown, health, Until::Stopped).await;
    }
    systemd::stopping();
    signals.abort();
    drop(watchers);
    info!("Stopped");
    Ok(waited.map(drop)?)
}

pub(super) async fn drain(config: &Config) -> Result<(), CliError> {
    // A service of this name may be running at the same time.
    let config = &Config { worker_name: format!("{} (drain)", config.worker_name), ..config.clone() };
    let metrics = Metrics::default();
    let store = connect(config, metrics.clone())?;
    store.check_contract().await?;
    let (signals, shutdown) = stop_on_signals(config.shutdown_grace)?;
    let counting = open(config)?;
    let delivering = deliver(config, store, metrics.clone(), shutdown, Health::default(), Until::Drained);
    // Ends with the delivery.
    tokio::select! {
        () = delivering => {}
        _ = progress(&counting, &metrics.totals) => {}
    }
    signals.abort();
    let (sent, failed) = metrics.totals.read();
    let waiting = match counting.waiting().await {
        Ok(waiting) => waiting,
        Err(error) => {
            super::print(&format!("{sent} sent, {failed} failed; what still waits could not be counted"));
            return Err(error.into());
        }
    };
    super::print(&format!("{sent} sent, {failed} failed, {waiting} still waiting"));
    if failed == 0 && waiting.n == 0 {
        return Ok(());
    }
    Err(CliError::Failed(
        "not everything went out; `odoo-matrix-worker status` and Matrix > Logs in Odoo say why".to_owned(),
    ))
}

/// Shows the progress of `drain` on a terminal, and never ends.
async fn progress(counting: &Store, totals: &Totals) -> Infallible {
    let progress = Progress::new(true);
    if !progress.is_shown() {
        return pending().await;
    }
    loop {
        let (sent, failed) = totals.read();
        // If it cannot be counted now, it may be the next time; the delivery reports why.
        if let Ok(waiting) = counting.waiting().await {
            progress.show(&format!("{sent} sent, {failed} failed, {waiting} waiting"));
        }
        sleep(PROGRESS_EVERY).await;
    }
}

/// A worker with its own listener.
async fn deliver(config: &Config, store: Store, metrics: Metrics, shutdown: Shutdown, health: Health, until: Until) {
    let listener = store.listener();
    let wakeups = listener.wakeups();
    let listening = tokio::spawn(listener.run());
    runner::run(config, store, metrics, shutdown, wakeups, health, until).await;
    listening.abort();
}

/// Begins to listen for SIGTERM and SIGINT, before this returns.
fn stop_on_signals(grace: Duration) -> Result<(JoinHandle<()>, Shutdown), CliError> {
    let (trigger, shutdown) = shutdown::channel();
    let signals = trigger
        .on_signals(grace)
        .map_err(|error| CliError::Failed(format!("SIGTERM and SIGINT cannot be handled: {error}")))?;
    Ok((tokio::spawn(signals), shutdown))
}

/// The tasks that report on the process, to people and to systemd, until this is dropped.
async fn watchers(config: &Config, health: &Health, metrics: &Metrics) -> Result<JoinSet<()>, CliError> {
    let mut watchers = JoinSet::new();
    watchers.spawn(systemd::watchdog(health.clone()));
    if let Some(address) = config.metrics_listen {
        let endpoint = Endpoint::bind(address).await.map_err(|error| {
            environment::bad(
                "METRICS_LISTEN",
                address,
                format!("cannot listen there ({error}); use an address of this host and a free port"),
            )
        })?;
        watchers.spawn(endpoint.serve(health.clone(), metrics.clone()));
    }
    Ok(watchers)
}

/// Waits until the database holds the contract; false when the worker was asked to stop first.
///
/// # Errors
/// A pooler that waiting would not change.
async fn wait_for_contract(store: &Store, shutdown: &Shutdown, health: &Health) -> Result<bool, StoreError> {
    loop {
        // This takes seconds if the server does not answer.
        let looked = tokio::select! {
            looked = store.check_contract() => looked,
            () = shutdown.draining() => return Ok(false),
        };
        let Err(error) = looked else { return Ok(true) };
        if let StoreError::Pooler(_) = error {
            return Err(error);
        }
        warn!(%error, "Waiting for the database");
        health.not_ready(&error);
        systemd::status(&format!("Waiting: {error}"));
        let pause = if error.is_passing() { Duration::from_secs(3) } else { CONTRACT_POLL };
        // Waits for the next look, or the end. Both loops begin after it: until then this one beats for them.
        let waiting = async {
            tokio::select! {
                () = sleep(pause) => false,
                () = shutdown.draining() => true,
            }
        };
        if health.claiming.beat_while(health.flushing.beat_while(waiting)).await {
            return Ok(false);
        }
    }
}
