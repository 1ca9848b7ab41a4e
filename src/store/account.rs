//! Lets one worker at a time change what an account keeps on its homeserver.

use deadpool_postgres::Object;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use tokio_postgres::Row;
use tracing::warn;

use super::{Store, StoreError, connect, locks};
use crate::message::UserId;

/// A session lock, so that no transaction is open during the calls to the homeserver. It is freed when the connection closes.
pub struct AccountLock {
    connection: Option<Object>,
    account: UserId,
    _permit: OwnedSemaphorePermit,
}

impl Store {
    /// Waits for the account's lock, for as long as the database lets a statement wait for a lock.
    pub async fn lock_account(&self, account: &UserId) -> Result<AccountLock, StoreError> {
        // At most one connection of the pool is kept this way, whatever the number of accounts.
        let permit = timeout(connect::ANSWER_TIMEOUT, self.account_lock.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(StoreError::Unavailable("the lists of other accounts are still being written".to_owned()));
        };
        // From here on any error closes the connection, because the lock may be granted to it at any time.
        let lock = AccountLock { connection: Some(self.client().await?), account: account.clone(), _permit: permit };
        match timeout(connect::ANSWER_TIMEOUT, lock.ask(include_str!("../../sql/lock_account.sql"))).await {
            Ok(answer) => answer.map(|_| lock),
            Err(_) => Err(StoreError::Unavailable("the account's lock was not given in time".to_owned())),
        }
    }
}

impl AccountLock {
    /// Releases the lock and keeps the connection.
    pub async fn release(mut self) {
        match timeout(connect::ANSWER_TIMEOUT, self.ask(include_str!("../../sql/unlock_account.sql"))).await {
            Ok(Ok(_)) => drop(self.connection.take()),
            // When the connection is closed, the server releases the locks of its session.
            Ok(Err(error)) => warn!(%error, "The lock of an account could not be given back"),
            Err(_) => warn!("The lock of an account could not be given back in time"),
        }
    }

    async fn ask(&self, sql: &str) -> Result<Vec<Row>, StoreError> {
        let connection = self.connection.as_ref().expect("taken when the lock is given back, and not before");
        let statement = connection.prepare_cached(sql).await?;
        Ok(connection.query(&statement, &[&locks::DIRECT_LIST, &self.account.as_str()]).await?)
    }
}

impl Drop for AccountLock {
    /// A connection that still holds the lock must not return to the pool.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}
