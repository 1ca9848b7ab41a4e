//! Builds HTTP clients, for the homeserver and for Odoo.

use std::time::Duration;

use reqwest::redirect;
use thiserror::Error;

/// The set-up for TLS cannot be used.
#[derive(Debug, Error)]
#[error("the HTTP client could not be made")]
pub struct ClientError(#[source] reqwest::Error);

/// A client for one server at `base`; `timeout` bounds every call from connecting to the last byte unless the call says otherwise.
/// Redirects are never followed: they could lead a secret elsewhere.
///
/// # Errors
/// When the set-up for TLS cannot be used.
pub(crate) fn client(base: &reqwest::Url, verify_ssl: bool, timeout: Duration) -> Result<reqwest::Client, ClientError> {
    let mut http = reqwest::Client::builder()
        .user_agent(concat!("odoo-matrix-worker/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .tls_danger_accept_invalid_certs(!verify_ssl)
        .timeout(timeout)
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(60));
    if base.scheme() == "http" {
        // A proxy from the environment would read the secret; over https it forwards what it cannot read.
        http = http.no_proxy();
    }
    http.build().map_err(|error| ClientError(error.without_url()))
}
