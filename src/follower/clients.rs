//! The clients for both sides of an account that is followed: its homeserver and Odoo.

use super::{account::Account, trouble::Halt};
use crate::{causes::with_causes, matrix::Homeserver, store::Trouble, webhook::Webhook};

impl Account {
    pub(super) fn homeserver(&self) -> Result<Homeserver, Halt> {
        let (asking, stopped) = (&self.asking, |reason| halt(Trouble::Stopped, reason));
        let token = self.keys.open("access token", asking.token_sealed.as_deref()).map_err(stopped)?;
        Homeserver::new(&asking.homeserver_url, token, asking.verify_ssl, self.http_timeout)
            .map_err(|error| stopped(with_causes(&error)))
    }

    /// `None` if Odoo does not want to have what is written.
    pub(super) fn webhook(&self) -> Result<Option<Webhook>, Halt> {
        let (asking, waiting) = (&self.asking, |reason| halt(Trouble::Waiting, reason));
        if !asking.wants_events {
            return Ok(None);
        }
        let secret = self.keys.open("webhook secret", asking.webhook_secret_sealed.as_deref()).map_err(waiting)?;
        Webhook::new(asking.webhook_url.as_deref(), secret, &asking.database, self.http_timeout)
            .map(Some)
            .map_err(|error| waiting(with_causes(&error)))
    }
}

fn halt(trouble: Trouble, reason: String) -> Halt {
    Halt::Trouble { trouble, reason }
}
