//! What keeps an account from being followed is reported once, in the log and in Odoo.

use std::{sync::PoisonError, time::Duration};

use tracing::{debug, error, info, warn};

use super::account::Account;
use crate::{
    matrix::SendError,
    message::{Failure, Outcome, State},
    metrics::{OfBackend, Side},
    store::{StoreError, Trouble},
};

/// Why reading stopped.
pub(super) enum Halt {
    /// Another worker follows the account.
    Lost,
    /// The configuration cannot be used, until a person changes it.
    Trouble {
        trouble: Trouble,
        reason: String,
    },
    /// The account's keys cannot be read or written at the moment.
    #[cfg(feature = "encryption")]
    Keys {
        reason: String,
        pause: Option<Duration>,
    },
    Homeserver(SendError),
}

impl From<SendError> for Halt {
    fn from(error: SendError) -> Self {
        Self::Homeserver(error)
    }
}

/// Whether the homeserver no longer knows the position from which it was asked to go on.
pub(super) fn is_forgotten(error: &SendError) -> bool {
    let is_forgotten = error.is_bad_request();
    if is_forgotten {
        error!(
            failure = %error.failure(),
            "The homeserver no longer knows the position up to which the account was read; what was written since then is not passed on to Odoo"
        );
    }
    is_forgotten
}

impl Account {
    /// Reports a problem once, in the log and in Odoo.
    pub(super) async fn report(&self, trouble: Trouble, reason: &str) {
        // Nothing is read meanwhile.
        self.context.rooms.of(self.asking.backend).close();
        let now = Some((trouble, reason.to_owned()));
        let before = std::mem::replace(&mut *self.trouble.lock().unwrap_or_else(PoisonError::into_inner), now.clone());
        self.set_following(0);
        if before.is_none() && self.asking.wants_missing {
            warn!(reason, "What the homeserver forgets cannot be passed on to Odoo; trying again until it can");
        } else if before.is_none() {
            warn!(reason, "Messages from Matrix do not reach Odoo; trying again until they do");
        }
        if before != now
            && let Err(error) = self.context.store.not_following(&self.following, trouble, reason).await
        {
            debug!(%error, "Could not store why the account is not followed");
        }
    }

    /// Reports that everything goes well again.
    pub(super) fn report_well(&self) {
        self.set_following(1);
        if self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take().is_none() {
            return;
        }
        if self.asking.wants_missing {
            info!("What the homeserver forgets can be passed on to Odoo again");
        } else {
            info!("Messages from Matrix reach Odoo again");
        }
    }

    /// Sets whether messages reach Odoo, unless that does not depend on the worker.
    fn set_following(&self, is_following: i64) {
        if !self.asking.wants_missing {
            let of_backend = OfBackend { backend: self.asking.backend };
            self.context.metrics.following.get_or_create(&of_backend).set(is_following);
        }
    }

    /// The homeserver did not answer as it should. Returns the pause that it asked for, if any.
    pub(super) async fn refused(&self, error: &SendError) -> Option<Duration> {
        let failure = error.failure();
        self.context.metrics.inbound_failures.get_or_create(&Side { side: "homeserver" }).inc();
        match error.outcome() {
            Outcome::Limited { pause } => {
                debug!(pause_ms = pause.as_millis(), "The homeserver limits reading");
                return Some(pause);
            }
            Outcome::Unauthorized(_) => self.unauthorized(&failure).await,
            _ => {}
        }
        self.report(Trouble::Stopped, &failure.to_string()).await;
        None
    }

    /// An account that may not read may not send either: this is the backend's state, which Odoo shows.
    async fn unauthorized(&self, failure: &Failure) {
        let (store, asking) = (&self.context.store, &self.asking);
        let stored: Result<(), StoreError> =
            store.stopped(asking.backend, asking.config_version, State::Unauthorized, failure).await;
        if let Err(error) = stored {
            debug!(%error, "Could not store that the homeserver refuses the account");
        }
    }
}
