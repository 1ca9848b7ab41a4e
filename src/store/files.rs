//! Files of messages: where to fetch them from Odoo, and their addresses on the homeserver.

use super::{Store, StoreError, value};
use crate::message::{Lane, Lease, MessageId};

/// What is known about a message's file.
#[derive(Clone, Debug)]
pub struct KnownFile {
    /// Where to fetch it from Odoo.
    pub files_url: Option<String>,
    pub database: String,
    /// Seconds since 1970 by the database's clock, which Odoo uses too.
    pub now: i64,
    /// Its address on the homeserver, also before it is uploaded.
    pub address: Option<String>,
    pub is_uploaded: bool,
    /// It is encrypted, with this sealed key.
    pub key_sealed: Option<String>,
}

/// The key of a message's file, which is stored with its address.
#[derive(Clone, Copy, Debug)]
pub enum FileKey<'a> {
    /// The file is not encrypted, and never was. Earlier contracts know no other.
    Never,
    /// The file is not encrypted, but was when it was uploaded before.
    Dropped,
    Sealed(&'a str),
}

impl Store {
    /// What is known about the file of a message; `None` if the message is gone.
    pub async fn file(&self, lane: &Lane, id: MessageId) -> Result<Option<KnownFile>, StoreError> {
        let rows = self.query(include_str!("../../sql/file.sql"), &[&id, &lane.as_str()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(KnownFile {
            files_url: value(row, "files_url")?,
            database: value(row, "database")?,
            now: value(row, "now")?,
            address: value(row, "content_uri")?,
            is_uploaded: value(row, "is_uploaded")?,
            key_sealed: value(row, "file_sealed")?,
        }))
    }

    /// Stores the address of a message's file, also before it is uploaded; false if another worker has the lane.
    pub async fn file_stored(
        &self,
        lease: &Lease,
        id: MessageId,
        address: &str,
        is_uploaded: bool,
        key: FileKey<'_>,
    ) -> Result<bool, StoreError> {
        let (owner, lane, epoch) = (&self.name.owner, lease.lane.as_str(), lease.epoch);
        let sealed = match key {
            FileKey::Never => {
                let sql = include_str!("../../sql/file_stored.sql");
                let rows = self.query(sql, &[owner, &lane, &epoch, &id, &address, &is_uploaded]).await?;
                return Ok(!rows.is_empty());
            }
            FileKey::Dropped => None,
            FileKey::Sealed(sealed) => Some(sealed),
        };
        let sql = include_str!("../../sql/file_encrypted.sql");
        let rows = self.query(sql, &[owner, &lane, &epoch, &id, &address, &is_uploaded, &sealed]).await?;
        Ok(!rows.is_empty())
    }
}
