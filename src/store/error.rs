//! What the database's errors mean for the worker.

use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::causes::with_causes;

/// What a pooler must do for `LISTEN`, session locks and prepared statements.
pub(super) const NOT_SESSIONS: &str = "it gives its clients no sessions of their own (pool_mode = transaction or statement in \
    pgbouncer.ini), without which the worker gets no notifications; set pool_mode = session for this database, or connect directly";

#[derive(Debug, Error)]
pub enum StoreError {
    /// Connection lost, server restarting, deadlock, time-out, read-only standby: repeating the statement will work.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The statement took too long, most likely because of its size or that of its answer.
    #[error("the database is not available: {0}")]
    Cancelled(String),
    /// The role may not do what the worker needs.
    #[error("the database role lacks a right: {0}; run `odoo-matrix-worker grants --role ROLE` as the owner")]
    Privilege(String),
    /// Tables are missing, or differ from what this worker knows.
    #[error("{0}")]
    Contract(String),
    /// A connection pooler between us and the server lacks what the worker needs.
    #[error("DATABASE_URL leads through a connection pooler: {0}")]
    Pooler(String),
    /// The database refused the data of a statement.
    #[error("the database refused the data: {0}")]
    Data(String),
    /// Repeating the statement would not help.
    #[error("database error: {0}")]
    Other(String),
}

impl StoreError {
    /// Whether the same statement may be repeated on another connection.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Cancelled(_))
    }

    /// What an administrator can do about it.
    pub fn fix(&self) -> &'static str {
        let text = self.to_string();
        let has = |part: &str| text.contains(part);
        if has("SQLSTATE 28P01") {
            "correct the password in DATABASE_URL, where % is %25 and other special characters are percent-encoded, too; or set the role's \
                with \\password in psql"
        } else if has("client certificate") || has("received fatal alert") {
            "give sslcert and sslkey in DATABASE_URL: the worker's certificate, signed by an authority in the server's ssl_ca_file, and its key"
        } else if has("SQLSTATE 28000") {
            "create the role (`odoo-matrix-worker grants --create-role`) and let it in by pg_hba.conf; peer authentication wants the \
                system user of the same name, as which `sudo odoo-matrix-worker --instance NAME` runs"
        } else if has("SQLSTATE 3D000") {
            "correct the name of the database in DATABASE_URL: `psql -l` lists those that there are"
        } else if has("does not allow writes") {
            "name the primary in DATABASE_URL, not a standby: of several hosts in it the one that takes writes is used"
        } else if has("certificate") {
            "name the host in DATABASE_URL as the server's certificate does, and in sslrootcert the authority that signed it"
        } else if has("SQLSTATE 53300") {
            "raise max_connections in postgresql.conf, or close sessions that nobody needs"
        } else if has("SQLSTATE 42501") || matches!(self, Self::Privilege(_)) {
            "run `odoo-matrix-worker grants --role ROLE` as the owner of Odoo's database, and its output with psql"
        } else if matches!(self, Self::Contract(_)) {
            "install or upgrade mail_matrix in Odoo, and the worker, to versions that belong together"
        } else {
            "start PostgreSQL, or correct host and port in DATABASE_URL"
        }
    }

    /// The server's own message without its DETAIL, which may quote a row.
    fn from_state(state: &SqlState, message: &str) -> Self {
        let text = format!("{message} (SQLSTATE {})", state.code());
        // PgBouncer's own text is needed: the code 08P01 says no more than that of a lost connection.
        if let Some((_, parameter)) = message.split_once("unsupported startup parameter: ") {
            return Self::Pooler(format!(
                "it refuses the parameter {parameter}; leave {parameter} out of DATABASE_URL, or add it to \
                 ignore_startup_parameters in pgbouncer.ini"
            ));
        }
        if message.contains("statement pooling mode") {
            return Self::Pooler(NOT_SESSIONS.to_owned());
        }
        match state.code() {
            "42501" => Self::Privilege(text),
            "42P01" | "42703" | "42883" | "3F000" => Self::Contract(format!(
                "the database does not hold the tables that this worker needs: {text}; install or upgrade mail_matrix in Odoo"
            )),
            "57014" => Self::Cancelled(text),
            // 25006: after a failover the old address may be a read-only standby for a while.
            "25006" | "40001" | "40P01" | "53300" | "55P03" | "57P01" | "57P02" | "57P03" | "25P03" | "57P05" => {
                Self::Unavailable(text)
            }
            // 53: out of memory, disk or connections; 58: I/O of the server; XX: a crash of its process.
            code if code.starts_with("08") || code.starts_with("53") || code.starts_with("58") => {
                Self::Unavailable(text)
            }
            // 44: a view's check; 54: too large; P0: what a trigger raises.
            code if ["22", "23", "44", "54", "P0"].iter().any(|class| code.starts_with(class)) => Self::Data(text),
            _ => Self::Other(text),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(refusal) = error.as_db_error() {
            return Self::from_state(refusal.code(), refusal.message());
        }
        let text = with_causes(&error);
        // An error that is neither from the server nor a lost connection is a mismatch between a statement and our code.
        if error.is_closed() || std::error::Error::source(&error).is_some_and(|cause| cause.is::<std::io::Error>()) {
            Self::Unavailable(text)
        } else {
            Self::Other(text)
        }
    }
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        use deadpool_postgres::{HookError, PoolError};
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => match Self::from(error)
            {
                // No statement was sent yet: a password that is wrong now may be corrected, and trying again does no harm.
                Self::Other(text) => Self::Unavailable(text),
                other => other,
            },
            other => Self::Unavailable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sqlstate_is_retried_or_reported() {
        let judged = |code: &str| StoreError::from_state(&SqlState::from_code(code), "x");

        for code in
            ["57P01", "57P02", "57P03", "08006", "08001", "53300", "40001", "40P01", "55P03", "57014", "25006", "53100"]
        {
            assert!(judged(code).is_passing(), "{code}");
        }
        assert!(matches!(judged("57014"), StoreError::Cancelled(_)));
        assert!(matches!(judged("42501"), StoreError::Privilege(_)));
        assert!(matches!(judged("42P01"), StoreError::Contract(_)));
        assert!(matches!(judged("42703"), StoreError::Contract(_)));
        assert!(matches!(judged("23514"), StoreError::Data(_)));
        assert!(matches!(judged("22P05"), StoreError::Data(_)));
        assert!(matches!(judged("P0001"), StoreError::Data(_)));
        assert!(matches!(judged("42601"), StoreError::Other(_)));
    }
}
