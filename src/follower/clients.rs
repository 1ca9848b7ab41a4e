//! The clients for both sides of an account that is followed: its homeserver and Odoo.

use std::error::Error;

use super::{account::Account, trouble::Halt};
use crate::{
    backend::reach,
    causes::with_causes,
    matrix::Homeserver,
    store::Trouble,
    webhook::{Door, Webhook},
};

impl Account {
    pub(super) fn homeserver(&self) -> Result<Homeserver, Halt> {
        reach(&self.asking.access, &self.keys, self.http_timeout)
            .map_err(|failure| Halt::Trouble { trouble: Trouble::Stopped, reason: failure.text })
    }

    /// `None` if Odoo does not want to have what is written.
    pub(super) fn webhook(&self) -> Result<Option<Webhook>, Halt> {
        let asking = &self.asking;
        if !asking.wants_events && !asking.wants_missing {
            return Ok(None);
        }
        let sealed = asking.webhook_secret_sealed.as_deref();
        let secret = self.keys.open("webhook secret", sealed).map_err(halt)?;
        let door = if asking.is_pushed { Door::Transactions } else { Door::Webhook };
        Webhook::new(door, asking.webhook_url.as_deref(), secret, &asking.database, self.http_timeout)
            .map(Some)
            .map_err(halt)
    }
}

/// Turns an error into the reason why nothing can be passed on.
fn halt<E: Error>(error: E) -> Halt {
    Halt::Trouble { trouble: Trouble::Waiting, reason: with_causes(&error) }
}
