//! One pace for all attempts to connect, whoever needs a connection: a server that is away is asked fewer than 20 times a minute.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::StoreError;
use crate::backoff;

const SHORTEST: Duration = Duration::from_millis(200);

/// With its jitter below four seconds, so that delivery resumes within five of the server's return.
const LONGEST: Duration = Duration::from_secs(3);

/// What was seen of the last attempts; as long as they work there is nothing to remember.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Option<Failing>>);

#[derive(Clone, Copy, Debug)]
struct Failing {
    pause: Duration,
    next: Instant,
}

impl Attempts {
    /// Waits for the turn to connect. One of those who wait has it; the others are told that nothing has changed.
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

    #[tokio::test(start_paused = true)]
    async fn who_waits_beside_the_one_whose_turn_it_is_does_not_ask_too() {
        let attempts = Attempts::default();
        assert!(attempts.turn().await.is_ok());
        attempts.failed();
        // The clock of the test stands still for `Instant`, so the pause is taken as over.
        attempts.lock().as_mut().expect("it has failed").next = Instant::now();

        let (first, second) = tokio::join!(attempts.turn(), attempts.turn());

        assert!(first.is_ok());
        assert!(matches!(second, Err(StoreError::Unavailable(_))));
        attempts.worked();
        assert!(attempts.turn().await.is_ok());
    }
}
