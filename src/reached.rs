//! When each homeserver has last done what it was asked: who has met its outage need not wait much longer once another call shows its end.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{sleep, sleep_until},
};

use crate::message::BackendId;

/// The shortest pause after a failure, whatever else succeeds: a homeserver may accept messages and fail at everything else.
const SHORTEST: Duration = Duration::from_secs(2);

/// When the last call to each homeserver that has succeeded was begun.
#[derive(Debug, Default)]
pub(crate) struct Reached(Mutex<HashMap<BackendId, watch::Sender<Option<Instant>>>>);

impl Reached {
    /// A call that was begun at `began` has succeeded.
    pub(crate) fn succeeded(&self, backend: BackendId, began: Instant) {
        self.of(backend).send_if_modified(|last| {
            let is_news = *last < Some(began);
            *last = (*last).max(Some(began));
            is_news
        });
    }

    /// Waits for `pause` after a call that has failed at `failed`, or for less if one succeeds that was begun after that.
    pub(crate) async fn rest(&self, backend: BackendId, failed: Instant, pause: Duration) {
        let mut last = self.of(backend).subscribe();
        let is_back = async {
            if last.wait_for(|began| began.is_some_and(|began| began > failed)).await.is_err() {
                std::future::pending().await
            }
            sleep_until((failed + SHORTEST).into()).await;
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = is_back => {}
        }
    }

    fn of(&self, backend: BackendId) -> watch::Sender<Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(backend).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    async fn rest(reached: &Reached, failed: Instant) -> Duration {
        let began = time::Instant::now();
        reached.rest(1, failed, PAUSE).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_call_to_the_same_homeserver_that_was_begun_after_the_failure_ends_a_pause() {
        let reached = Reached::default();
        let before = Instant::now();
        let failed = before + Duration::from_millis(1);
        let after = failed + Duration::from_millis(1);
        reached.succeeded(1, before);
        reached.succeeded(2, after);

        assert!(rest(&reached, failed).await >= PAUSE);

        let succeed = async {
            sleep(PAUSE / 2).await;
            reached.succeeded(1, after);
        };
        let (rested, ()) = tokio::join!(rest(&reached, failed), succeed);
        assert!(rested >= PAUSE / 2 && rested < PAUSE, "{rested:?}");

        reached.succeeded(1, before);
        assert!(rest(&reached, failed).await < PAUSE, "what is older takes nothing back");
    }
}
