//! Stops in two steps: first no new work, then no work at all.

use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};
use tracing::info;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// What is in flight is finished, nothing new is begun.
    Draining,
    /// Everything is dropped as it is.
    Ended,
}

/// The part of the grace in which results are written and lanes are given back, when all else has been dropped.
pub(crate) fn last_words(grace: Duration) -> Duration {
    Duration::from_secs(1).min(grace / 4)
}

/// Begins the phases.
#[derive(Debug)]
pub(crate) struct Trigger(watch::Sender<Phase>);

/// Tells which phase it is.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(watch::Receiver<Phase>);

pub(crate) fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    pub(crate) fn drain(&self) {
        self.0.send_replace(Phase::Draining);
    }

    pub(crate) fn end(&self) {
        self.0.send_replace(Phase::Ended);
    }

    /// The first SIGTERM or SIGINT begins to drain, for at most `grace`; the second ends at once.
    ///
    /// The handlers are installed when this returns: a signal that comes before the future is polled counts.
    ///
    /// # Errors
    /// When the process may not install signal handlers.
    pub(crate) fn on_signals(self, grace: Duration) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            info!(grace_seconds = grace.as_secs_f64(), "Stopping: finishing what is in flight");
            self.drain();
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = sleep(grace - last_words(grace)) => {}
            }
            info!("Stopping now; what is unsent is given back");
            self.end();
        })
    }
}

impl Shutdown {
    pub(crate) fn is_draining(&self) -> bool {
        *self.0.borrow() >= Phase::Draining
    }

    /// Waits until no new work may begin.
    pub(crate) async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until all work must be dropped.
    pub(crate) async fn ended(&self) {
        self.reached(Phase::Ended).await;
    }

    async fn reached(&self, phase: Phase) {
        // A trigger that is gone can begin nothing any more: then this waits for ever.
        if self.0.clone().wait_for(|now| *now >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_move_on() {
        let (trigger, shutdown) = channel();
        assert!(!shutdown.is_draining());

        trigger.drain();
        shutdown.draining().await;
        assert!(shutdown.is_draining());

        trigger.end();
        shutdown.ended().await;
    }
}
