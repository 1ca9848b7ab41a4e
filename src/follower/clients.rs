//! The clients for both sides of an account that is followed: its homeserver and Odoo.

use std::error::Error;

use super::{account::Account, trouble::Halt};
use crate::{
    causes::with_causes,
    matrix::Homeserver,
    store::Trouble,
    webhook::{Door, Webhook},
};

impl Account {
    pub(super) fn homeserver(&self) -> Result<Homeserver, Halt> {
        let asking = &self.asking;
        let token = self.keys.open("access token", asking.token_sealed.as_deref()).map_err(halt(Trouble::Stopped))?;
        Homeserver::new(&asking.homeserver_url, token, asking.verify_ssl, self.http_timeout)
            .map_err(halt(Trouble::Stopped))
    }

    /// `None` if Odoo does not want to have what is written.
    pub(super) fn webhook(&self) -> Result<Option<Webhook>, Halt> {
        let asking = &self.asking;
        if !asking.wants_events && !asking.wants_missing {
            return Ok(None);
        }
        let sealed = asking.webhook_secret_sealed.as_deref();
        let secret = self.keys.open("webhook secret", sealed).map_err(halt(Trouble::Waiting))?;
        let door = if asking.wants_missing { Door::Transactions } else { Door::Webhook };
        Webhook::new(door, asking.webhook_url.as_deref(), secret, &asking.database, self.http_timeout)
            .map(Some)
            .map_err(halt(Trouble::Waiting))
    }
}

/// Turns an error into the reason why reading stopped.
fn halt<E: Error>(trouble: Trouble) -> impl FnOnce(E) -> Halt {
    move |error| Halt::Trouble { trouble, reason: with_causes(&error) }
}
