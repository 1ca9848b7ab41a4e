//! How to reach an account, as Odoo has configured it.

use tokio_postgres::Row;

use super::{StoreError, value};

/// The account of a backend on its homeserver.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    pub homeserver_url: String,
    /// The account's own.
    pub token_sealed: Option<String>,
    pub verify_ssl: bool,
    /// The application service that acts as the account.
    pub acting: Option<ActingRow>,
}

/// An application service, and the account and device as which it acts.
#[derive(Clone, Debug, PartialEq)]
pub struct ActingRow {
    pub token_sealed: Option<String>,
    pub user: String,
    pub device: String,
}

/// The columns that `sql/backends.sql` and `sql/follow.sql` have in common.
pub(super) fn access(row: &Row) -> Result<Access, StoreError> {
    let account = value::<Option<String>>(row, "acting_user")?.zip(value(row, "acting_device")?);
    let token_sealed = value(row, "acting_token")?;
    Ok(Access {
        homeserver_url: value::<Option<String>>(row, "homeserver_url")?.unwrap_or_default(),
        token_sealed: value(row, "token_sealed")?,
        verify_ssl: value(row, "verify_ssl")?,
        acting: account.map(|(user, device)| ActingRow { token_sealed, user, device }),
    })
}
