//! Whether this process does its work, for `/healthz`, `/readyz` and systemd's watchdog.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::time::{Instant, sleep};

/// How often a loop that waits shows that it still runs.
const TICK: Duration = Duration::from_millis(500);

/// A loop that has not moved for this long hangs. It is longer than the slowest turn, in which a connection and a statement both run
/// into their time limits.
const HANGS_AFTER: Duration = Duration::from_secs(45);

/// Shows that one loop moves.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Mutex<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Pulse {
    pub(crate) fn beat(&self) {
        *self.lock() = Instant::now();
    }

    /// Waits for `idle`, beating all the while: a loop that waits for work is as alive as one that works.
    pub(crate) async fn beat_while<T>(&self, idle: impl Future<Output = T>) -> T {
        let mut idle = pin!(idle);
        loop {
            self.beat();
            // Waits for `idle`, or the next beat.
            tokio::select! {
                done = &mut idle => {
                    self.beat();
                    return done;
                }
                () = sleep(TICK) => {}
            }
        }
    }

    fn last(&self) -> Instant {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the process does not do its work, in one line for a person.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct NotReady(String);

/// What the process knows of its own state. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub claiming: Pulse,
    pub flushing: Pulse,
    readiness: Arc<Mutex<Result<(), NotReady>>>,
}

impl Default for Health {
    fn default() -> Self {
        let readiness = Err(NotReady("starting".to_owned()));
        Self { claiming: Pulse::default(), flushing: Pulse::default(), readiness: Arc::new(Mutex::new(readiness)) }
    }
}

impl Health {
    /// The worker claims lanes.
    pub(crate) fn ready(&self) {
        let mut readiness = self.readiness();
        if readiness.is_err() {
            *readiness = Ok(());
        }
    }

    /// It does not, in one line for a person.
    pub(crate) fn not_ready(&self, reason: &impl std::fmt::Display) {
        *self.readiness() = Err(NotReady(reason.to_string().replace(['\n', '\r'], " ")));
    }

    /// # Errors
    /// Why nothing is claimed.
    pub(crate) fn is_ready(&self) -> Result<(), NotReady> {
        self.is_alive()?;
        self.readiness().clone()
    }

    /// # Errors
    /// Names the loop that hangs.
    pub(crate) fn is_alive(&self) -> Result<(), NotReady> {
        for (name, pulse) in [("claim", &self.claiming), ("flush", &self.flushing)] {
            let age = pulse.last().elapsed();
            if age > HANGS_AFTER {
                return Err(NotReady(format!("the {name} loop has not moved for {} s", age.as_secs())));
            }
        }
        Ok(())
    }

    /// Whether both loops have moved since `then`.
    pub(crate) fn moved_since(&self, then: Instant) -> bool {
        self.claiming.last() > then && self.flushing.last() > then
    }

    fn readiness(&self) -> MutexGuard<'_, Result<(), NotReady>> {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line() {
        let health = Health::default();
        assert_eq!(health.is_ready(), Err(NotReady("starting".to_owned())));

        health.not_ready(&"no\ntables");
        assert_eq!(health.is_ready(), Err(NotReady("no tables".to_owned())));

        health.ready();
        assert_eq!(health.is_ready(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_named_and_one_that_waits_for_work_is_not() {
        let health = Health::default();
        health.ready();

        health.claiming.beat_while(sleep(HANGS_AFTER * 2)).await;
        let text = health.is_ready().unwrap_err().to_string();
        assert!(text.contains("flush loop"), "{text}");

        health.flushing.beat();
        assert_eq!(health.is_ready(), Ok(()));
    }
}
