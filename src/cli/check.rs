//! `check`: looks at everything that delivery needs, and changes nothing.

use super::{CliError, open, print};
use crate::{backend::Backend, config::Config, message::Failure};

pub(super) async fn check(config: &Config) -> Result<(), CliError> {
    let store = open(config)?;
    store.check_contract().await?;
    print("ok       database: reached, and its tables are those that this worker knows");
    let mut problems = 0;
    let missing = store.missing_rights().await?;
    if missing.is_empty() {
        print("ok       role: has the rights that the worker needs");
    } else {
        problems += 1;
        print(&format!(
            "PROBLEM  role: lacks {}; run `odoo-matrix-worker grants --role ROLE` as the owner",
            missing.join(", ")
        ));
    }
    let backends = store.backends().await?;
    if backends.is_empty() {
        print("note     no backend is active: Matrix > Backends in Odoo");
    }
    for row in &backends {
        let backend = Backend::new(row, &config.token_keys, config.http_timeout);
        match account(&backend).await {
            Ok((text, warning)) => {
                print(&format!("ok       backend {} «{}»: {text}", row.id, row.name));
                if let Some(warning) = warning {
                    print(&format!("warning  backend {} «{}»: {warning}", row.id, row.name));
                }
            }
            Err(failure) => {
                problems += 1;
                print(&format!("PROBLEM  backend {} «{}»: {failure}", row.id, row.name));
            }
        }
    }
    if problems == 0 { Ok(()) } else { Err(CliError::Failed(format!("{problems} problems found"))) }
}

async fn account(backend: &Backend) -> Result<(String, Option<String>), Failure> {
    let homeserver = backend.homeserver.as_ref().map_err(Clone::clone)?;
    let whoami = homeserver.whoami().await.map_err(|error| error.failure())?;
    let Some(device) = whoami.device_id else {
        let warning = "the token has no device id: a message that is repeated after a restart of the homeserver may appear \
            twice; log the account in with a device and set that token";
        return Ok((format!("{} without a device", whoami.user_id), Some(warning.to_owned())));
    };
    Ok((format!("{}, device {device}", whoami.user_id), None))
}
