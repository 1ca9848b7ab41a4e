//! The clients for both sides of an account that is followed: its homeserver and Odoo.

use std::error::Error;

use super::{account::Account, trouble::Halt};
use crate::{causes::with_causes, matrix::Homeserver, store::Trouble, webhook::Webhook};

impl Account {
    pub(super) fn homeserver(&self) -> Result<Homeserver, Halt> {
        let (asking, stopped) = (&self.asking, |error: &dyn Error| halt(Trouble::Stopped, error));
        let token = self.keys.open("access token", asking.token_sealed.as_deref()).map_err(|error| stopped(&error))?;
        Homeserver::new(&asking.homeserver_url, token, asking.verify_ssl, self.http_timeout)
            .map_err(|error| stopped(&error))
    }

    /// `None` if Odoo does not want to have what is written.
    pub(super) fn webhook(&self) -> Result<Option<Webhook>, Halt> {
        let (asking, waiting) = (&self.asking, |error: &dyn Error| halt(Trouble::Waiting, error));
        if !asking.wants_events {
            return Ok(None);
        }
        let secret = self
            .keys
            .open("webhook secret", asking.webhook_secret_sealed.as_deref())
            .map_err(|error| waiting(&error))?;
        Webhook::new(asking.webhook_url.as_deref(), secret, &asking.database, self.http_timeout)
            .map(Some)
            .map_err(|error| waiting(&error))
    }
}

fn halt(trouble: Trouble, error: &dyn Error) -> Halt {
    Halt::Trouble { trouble, reason: with_causes(error) }
}
