//! What `status` and `check` show about encryption. A worker that was built without it shows it too.

use serde::Serialize;
use tokio_postgres::Row;

use super::{Store, StoreError, backlog::seconds, value};
use crate::message::BackendId;

/// The device of an account that is to encrypt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeysReport {
    pub id: BackendId,
    pub name: String,
    pub device: Option<String>,
    pub fingerprint: Option<String>,
    pub state: KeysWord,
    pub reason: Option<String>,
    pub synced_seconds: Option<f64>,
}

/// How things stand with the keys of a device, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeysWord {
    Ready,
    /// A worker is about to create or sign them.
    Setup,
    /// No worker that was built with encryption follows the account.
    Nobody,
    Unsigned,
    /// They could not be created.
    Failed,
    /// The device has keys of another client.
    Refused,
    Lost,
    /// They come from another database, or from an earlier time.
    Moved,
}

impl Store {
    /// Each account that is to encrypt; none with a contract older than the setting.
    pub async fn report_keys(&self) -> Result<Vec<KeysReport>, StoreError> {
        match self.query(include_str!("../../sql/report_keys.sql"), &[]).await {
            Ok(rows) => rows.iter().map(report).collect(),
            Err(StoreError::Contract(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl KeysWord {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Setup => "being set up",
            Self::Nobody => "no worker",
            Self::Unsigned => "not signed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Moved => "moved",
        }
    }

    /// What is wrong, in plain words.
    pub fn trouble(self) -> Option<&'static str> {
        match self {
            Self::Ready | Self::Setup => None,
            Self::Nobody => Some("no worker that was built with encryption follows the account"),
            Self::Unsigned => Some("strict clients do not show its messages in encrypted rooms"),
            Self::Failed | Self::Refused | Self::Lost | Self::Moved => Some("messages for encrypted rooms wait"),
        }
    }

    /// What solves it.
    pub fn fix(self) -> &'static str {
        match self {
            Self::Ready | Self::Setup => "nothing is to be done",
            Self::Nobody => "start odoo-matrix-worker, one that was built with encryption",
            Self::Unsigned => "press «Verify Device» on the page Encryption of the backend in Odoo",
            Self::Failed => "press «Set Up Again» on the page Encryption of the backend in Odoo",
            Self::Refused | Self::Lost | Self::Moved => {
                "press «New Device» on the page Encryption of the backend in Odoo"
            }
        }
    }

    /// The word for a row of the report.
    fn of(row: &Row) -> Result<Self, StoreError> {
        let text = |column| value::<Option<String>>(row, column);
        let (state, signature) = (text("state")?, text("signature")?);
        let (is_failed, is_asked): (bool, bool) = (value(row, "is_failed")?, value(row, "is_asked")?);
        Ok(match (state.as_deref(), signature.as_deref()) {
            _ if !value::<bool>(row, "is_held")? => Self::Nobody,
            _ if is_asked => Self::Setup,
            (Some("ok"), Some("signed")) => Self::Ready,
            (Some("ok"), Some(_)) => Self::Unsigned,
            (Some("ok"), None) if is_failed => Self::Unsigned,
            _ if is_failed => Self::Failed,
            (Some("refused"), _) => Self::Refused,
            (Some("lost"), _) => Self::Lost,
            (Some("moved"), _) => Self::Moved,
            _ => Self::Setup,
        })
    }
}

fn report(row: &Row) -> Result<KeysReport, StoreError> {
    Ok(KeysReport {
        id: value(row, "id")?,
        name: value(row, "name")?,
        device: value(row, "device_id")?,
        fingerprint: value(row, "fingerprint")?,
        state: KeysWord::of(row)?,
        reason: value(row, "reason")?,
        synced_seconds: seconds(value(row, "synced_seconds")?).map(|time| time.as_secs_f64()),
    })
}
