//! Whether the homeserver of a stopped backend is back.

use std::time::Instant;

use tracing::{info, warn};

use super::Shared;
use crate::{
    backend::Backend,
    message::{Failure, Outcome, State},
};

/// Asks a stopped backend's homeserver whether it is back, if no other worker does. Returns whether it was asked.
pub(super) async fn ask(shared: &Shared, backend: &Backend) -> bool {
    let store = &shared.context.store;
    match store.take_probe(backend.id).await {
        Ok(true) => {}
        Ok(false) => return false,
        Err(error) => {
            warn!(%error, "Could not take the turn to probe the homeserver");
            return false;
        }
    }
    let began = Instant::now();
    let failure = match &backend.homeserver {
        Err(failure) => (State::Misconfigured, failure.clone()),
        Ok(homeserver) => match homeserver.whoami().await {
            Ok(whoami) => {
                info!("The homeserver is back");
                shared.context.reached.succeeded(backend.id, began);
                if let Err(error) =
                    store.back(backend.id, backend.config_version, &whoami.user_id, whoami.device_id.as_deref()).await
                {
                    warn!(%error, "Could not record that the homeserver is back");
                }
                shared.wakeups.wake();
                return true;
            }
            Err(error) => stopped_state(error.outcome(), error.failure()),
        },
    };
    if let Err(error) = store.stopped(backend.id, backend.config_version, failure.0, &failure.1).await {
        warn!(%error, "The state of a stopped backend could not be recorded");
    }
    true
}

fn stopped_state(outcome: Outcome, failure: Failure) -> (State, Failure) {
    let state = match outcome {
        Outcome::Unauthorized(_) => State::Unauthorized,
        Outcome::Misconfigured(_) | Outcome::Rejected(_) | Outcome::Forbidden(_) => State::Misconfigured,
        Outcome::Sent(_) | Outcome::Transient { .. } | Outcome::Limited { .. } => State::Down,
    };
    (state, failure)
}
