//! What is wrong with a `DATABASE_URL`. Errors never contain the URL itself, which has a password in it.

use std::error::Error as _;

use rustls::pki_types::pem;
use thiserror::Error;

/// Why a `DATABASE_URL` cannot be used.
#[derive(Debug, Error)]
pub enum UrlError {
    #[error("it is not a PostgreSQL URL ({0}{cause}); write it as postgresql://user:password@host:5432/database", cause = cause(.0))]
    Syntax(#[source] tokio_postgres::Error),
    #[error("it names no database; write it as postgresql://user:password@host:5432/database")]
    NoDatabase,
    #[error(
        "the user name or the password has a character in it that means something else in a URL; percent-encode it: @ is %40, / is %2F, ? is %3F, \
         % is %25"
    )]
    Login,
    #[error("the parameter {0} is not supported; leave it out")]
    Parameter(String),
    #[error("target_session_attrs={0} is not supported: the worker needs the server that takes writes; leave it out")]
    ReadOnly(String),
    #[error("sslcert and sslkey belong together: give both or none")]
    HalfAPair,
    #[error("{parameter}={path} cannot be read: {source}")]
    Certificates { parameter: &'static str, path: String, source: pem::Error },
    /// Without its cause, which may quote the file.
    #[error("sslkey={0} cannot be read, or is not an unencrypted private key in PEM format")]
    Key(String),
    #[error("sslcert={certificate} and sslkey={key} cannot be used together: {source}")]
    Pair { certificate: String, key: String, source: rustls::Error },
    #[error("the system's certificate authorities cannot be read: {0}")]
    Authorities(#[source] rustls::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
}

fn cause(error: &tokio_postgres::Error) -> String {
    error.source().map(|cause| format!(": {cause}")).unwrap_or_default()
}
