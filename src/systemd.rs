//! Reports to systemd, if it started us; without systemd all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::health::Health;

/// One line for `systemctl status`.
pub(crate) fn status(line: &str) {
    notify(&[NotifyState::Status(line)]);
}

/// The service runs. It may still be waiting for the database: `/readyz` and the status line say so.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
}

pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Pings the watchdog, if there is one, for as long as both loops move.
pub(crate) async fn watchdog(health: Health) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else { return };
    info!(limit_seconds = limit.as_secs_f64(), "Watched by systemd");
    watch(&health, limit, || notify(&[NotifyState::Watchdog])).await;
}

/// Pings at half of the limit when both loops have moved since the last ping. A loop that waits for work moves; after one that
/// hangs, systemd restarts the worker.
async fn watch(health: &Health, limit: Duration, ping: impl Fn()) {
    let period = limit / 2;
    let mut pause = period;
    let mut last = Instant::now();
    loop {
        sleep(pause).await;
        if health.moved_since(last) {
            ping();
            last = Instant::now();
            pause = period;
        } else {
            warn!("A loop has not moved since the last ping of the watchdog");
            // A loop that is only slow still gets its ping before the limit.
            pause = period / 8;
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "Could not report to systemd");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_pinged_twice_in_its_time_while_both_loops_wait_for_work() {
        let (health, pings) = (Health::default(), Cell::new(0));

        let idle = health.claiming.beat_while(health.flushing.beat_while(std::future::pending::<()>()));
        let watching = watch(&health, LIMIT, || pings.set(pings.get() + 1));
        let _ = timeout(LIMIT * 2 + Duration::from_secs(1), async { tokio::join!(idle, watching) }).await;

        assert_eq!(pings.get(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_not_pinged_when_one_loop_hangs() {
        let (health, pings) = (Health::default(), Cell::new(0));

        let idle = health.claiming.beat_while(std::future::pending::<()>());
        let watching = watch(&health, LIMIT, || pings.set(pings.get() + 1));
        let _ = timeout(LIMIT * 10, async { tokio::join!(idle, watching) }).await;

        assert_eq!(pings.get(), 0);
    }
}
