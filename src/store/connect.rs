//! How to reach PostgreSQL: the URL with libpq's meaning of its parameters, keepalives, TLS, and what each session sets.

mod error;
mod parameters;
mod tls;

use std::time::Duration;

use tokio_postgres::{
    Client, Connection, Socket,
    config::{Config, TargetSessionAttrs},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use self::error::UrlError;
use self::parameters::Parameters;

/// A statement that takes longer is ended by the server; the client waits a little longer, so that a dead connection is noticed.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(8);
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The planner settings of each session of the worker. Its statements walk indexes and read a few rows in each step, so that their
/// cost does not depend on the backlog. With statistics that say that the outbox is empty, as it usually is, the planner would read and
/// sort all of it, and keep that plan while a backlog grows.
pub const PLANNER: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    // On tables without statistics the statements look expensive, and JIT compilation would take a second for each.
    ("jit", "off"),
];

/// What each session sets, whatever the settings of the database or the role: the statements mean the same everywhere.
const MEANING: [(&str, &str); 9] = [
    // Any stricter level fails when two workers claim at the same time.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("TimeZone", "UTC"),
    // The schema in which sql/grants.sql gives rights.
    ("search_path", "public"),
    // The server, too, must notice if we disappear without closing the connection: the session may hold this worker's name.
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    // Text must not come back in another encoding.
    ("client_encoding", "UTF8"),
];

/// Settings that not every server knows: time limits that a database may have been given and that would end our sessions; and a
/// compression that costs a fifth or less of the usual one, for long texts in the log.
const WHERE_KNOWN: &str =
    "SELECT set_config(name, CASE name WHEN 'default_toast_compression' THEN 'lz4' ELSE '0' END, false)
    FROM pg_settings
    WHERE name IN ('idle_session_timeout', 'transaction_timeout')
        OR (name = 'default_toast_compression' AND 'lz4' = ANY (enumvals))";

/// How to open a session of the worker.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    /// Must be run first on each connection. Not part of the start-up packet, because a pooler in session mode refuses options there.
    pub(super) setup: String,
}

pub(super) type PgConnection = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

impl Link {
    /// The connection settings of a `DATABASE_URL` and the TLS that its `sslmode` asks for.
    ///
    /// As in libpq, `prefer` (default) and `require` encrypt without checking the certificate, `verify-full` checks it and the host
    /// name, against `sslrootcert` or the system's authorities. `verify-ca` checks as `verify-full` does.
    ///
    /// # Errors
    /// Says why the URL cannot be used.
    pub(super) fn new(database_url: &str) -> Result<Self, UrlError> {
        let (url, parameters) = Parameters::take(database_url)?;
        let mut config: Config = url.parse().map_err(UrlError::Syntax)?;
        if config.get_dbname().is_none() {
            return Err(UrlError::NoDatabase);
        }
        config
            .application_name(concat!("odoo-matrix-worker ", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // If the URL has several hosts, the primary and never a standby: the worker writes.
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(10));
        let setup = setup(config.get_options().unwrap_or_default());
        Ok(Self { tls: MakeRustlsConnect::new(tls::client(&parameters)?), config, setup })
    }

    /// A connection. Its [`setup`](Self::setup) must still be run once the connection is driven.
    pub(super) async fn connect(&self) -> Result<(Client, PgConnection), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }
}

/// Settings from `options` in the URL stay as they are.
fn setup(options: &str) -> String {
    let timeouts = [
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("lock_timeout", STATEMENT_TIMEOUT / 2),
        ("idle_in_transaction_session_timeout", STATEMENT_TIMEOUT),
    ]
    .map(|(name, time)| (name, time.as_millis().to_string()));
    let fixed = MEANING.iter().chain(&PLANNER).map(|(name, value)| (*name, (*value).to_owned()));
    let settings = timeouts.into_iter().chain(fixed).filter(|(name, _)| !options.contains(&format!("{name}=")));
    let sets: String = settings.map(|(name, value)| format!("SET {name} = '{value}'; ")).collect();
    sets + WHERE_KNOWN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_is_reported_without_its_password() {
        let error = Link::new("postgresql://u:hunter2@h:port/d").map(|_| ()).unwrap_err().to_string();

        assert!(error.contains("postgresql://user:password@host") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_client_certificate_needs_its_key() {
        let error = Link::new("postgresql://u@h/d?sslcert=/c.pem").map(|_| ()).unwrap_err().to_string();

        assert!(error.contains("sslcert and sslkey"), "{error}");
    }

    #[test]
    fn options_of_the_url_are_not_overruled() {
        let link = Link::new("postgresql://u@h/d?options=-c%20search_path%3Doffice").unwrap();

        assert!(!link.setup.contains("search_path") && link.setup.contains("SET statement_timeout = '8000'"));
    }
}
