//! A message has failed twice: is it at fault itself, or is the homeserver away?

use std::time::Duration;

use tracing::warn;

use super::{Delivery, Next, Stop, tries::Tries};
use crate::{
    matrix::Homeserver,
    message::{Failure, Message, State},
    store::{Held, Verdict},
};

/// A message that has failed for so long while the homeserver answers is at fault itself.
const POISON_AFTER: Duration = Duration::from_secs(10 * 60);

impl Delivery<'_> {
    /// The retry has failed too: either this message is at fault, or the homeserver is away.
    pub(super) async fn exhausted(
        &self,
        homeserver: &Homeserver,
        message: &Message,
        tries: &Tries,
        failure: Failure,
    ) -> Next {
        if !self.backend.hold_on_outage || self.is_poison(homeserver, tries).await {
            return self.failed(message, tries, failure).await;
        }
        self.stop(message, tries, State::Down, failure).await
    }

    pub(super) async fn is_poison(&self, homeserver: &Homeserver, tries: &Tries) -> bool {
        let is_old = || tries.first_failed.is_some_and(|at| at.elapsed() >= POISON_AFTER);
        self.is_alone(tries).await || (is_old() && homeserver.whoami().await.is_ok())
    }

    /// Whether other messages got through between this one's first failure and its last try.
    async fn is_alone(&self, tries: &Tries) -> bool {
        let Some(first_failed) = tries.first_failed else { return false };
        if tries.is_overtaken {
            return true;
        }
        let (from, until) = (first_failed.elapsed(), tries.began.elapsed());
        match self.context.store.passed_between(self.backend.id, from, until).await {
            Ok(passed) => passed,
            Err(error) => {
                warn!(%error, backend.id = self.backend.id, "It is not known whether other messages got through");
                false
            }
        }
    }

    /// Nobody may send until a probe succeeds. The message stays, with one failed row in the log.
    pub(super) async fn stop(&self, message: &Message, tries: &Tries, state: State, failure: Failure) -> Next {
        if !self.backend.hold_on_outage {
            return self.failed(message, tries, failure).await;
        }
        self.gate.close();
        warn!(backend.id = self.backend.id, state = state.as_str(), %failure, "The backend is stopped until a probe succeeds");
        let store = &self.context.store;
        match store.stopped(self.backend.id, self.backend.config_version, state, &failure).await {
            Ok(()) => self.gate.recorded(),
            Err(error) => {
                warn!(%error, backend.id = self.backend.id, "The state of a stopped backend could not be recorded; it is kept here");
                self.gate.unrecorded(Duration::ZERO);
            }
        }
        self.complete(message, tries, Verdict::Stuck(failure.clone()), tries.since.elapsed(), None).await;
        let held = Held { id: message.id, attempts: tries.attempts, error: Some(failure) };
        Next::Stop(Stop { held: Some(held), retry_after: None })
    }
}
