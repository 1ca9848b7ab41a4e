//! One pace for all attempts to connect, whatever needs a connection: if the server is down there are fewer than 20
//! attempts a minute.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::StoreError;
use crate::backoff;

const SHORTEST: Duration = Duration::from_millis(200);

/// With jitter it stays below four seconds, so that delivery resumes within five seconds after the server is back.
const LONGEST: Duration = Duration::from_secs(3);

/// What is known about the last attempts; as long as they succeed there is nothing to remember.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Option<Failing>>);

#[derive(Clone, Copy, Debug)]
struct Failing {
    pause: Duration,
    next: Instant,
}

impl Attempts {
    /// Waits for the turn to connect. One of the waiting tasks gets it; the others get an error that there is still no connection.
    pub(super) async fn turn(&self) -> Result<(), StoreError> {
        let Some(failing) = *self.lock() else { return Ok(()) };
        sleep_until(failing.next.into()).await;
        let now = Instant::now();
        let mut failing = self.lock();
        match failing.as_mut() {
            None => Ok(()),
            Some(failing) if failing.next <= now => {
                failing.next = now + LONGEST;
                Ok(())
            }
            Some(_) => Err(StoreError::Unavailable("there is still no connection to the server".to_owned())),
        }
    }

    pub(super) fn worked(&self) {
        *self.lock() = None;
    }

    pub(super) fn failed(&self) {
        let mut failing = self.lock();
        let pause = failing.map_or(SHORTEST, |failing| (failing.pause * 2).min(LONGEST));
        *failing = Some(Failing { pause, next: Instant::now() + backoff::with_jitter(pause) });
    }

    fn lock(&self) -> MutexGuard<'_, Option<Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_of_those_who_wait_for_their_turn_gets_it() {
        let attempts = Attempts::default();
        assert!(attempts.turn().await.is_ok());
        attempts.failed();

        let (one, other) = tokio::join!(attempts.turn(), attempts.turn());

        assert!(one.is_ok() != other.is_ok());
        attempts.worked();
        assert!(attempts.turn().await.is_ok());
    }
}
