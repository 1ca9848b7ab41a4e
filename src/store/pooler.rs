//! Whether each connection is a session of the server, which `LISTEN`, session locks and settings need.

use deadpool_postgres::Object;
use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;

use super::{Store, StoreError, connect::ANSWER_TIMEOUT, error::NOT_SESSIONS};

const SESSION: &str = "SELECT pg_backend_pid()";

impl Store {
    /// # Errors
    /// [`StoreError::Pooler`] if there is a pooler in transaction mode.
    ///
    /// Such a pooler gives each transaction any idle session. It is there if two connections report the same session, or if
    /// one reports another session than before while the other one keeps its own busy. No prepared statements are used,
    /// because older poolers in this mode do not support them.
    pub(super) async fn check_sessions(&self) -> Result<(), StoreError> {
        match timeout(ANSWER_TIMEOUT, self.compare_sessions()).await {
            Ok(compared) => compared,
            Err(_) => Err(StoreError::Unavailable("a statement was not answered in time".to_owned())),
        }
    }

    async fn compare_sessions(&self) -> Result<(), StoreError> {
        let (one, other) = (self.client().await?, self.client().await?);
        let first = session(&one, SESSION).await?;
        let busy = session(&other, "BEGIN; SELECT pg_backend_pid()").await;
        let again = session(&one, SESSION).await;
        let ended = other.batch_execute("COMMIT").await;
        let (busy, again) = (busy?, again?);
        ended?;
        if first == busy || first != again { Err(StoreError::Pooler(NOT_SESSIONS.to_owned())) } else { Ok(()) }
    }
}

async fn session(client: &Object, sql: &str) -> Result<Option<String>, StoreError> {
    let messages = client.simple_query(sql).await?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
