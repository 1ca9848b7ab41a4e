//! The real parts that tests and demo run on, each started from nothing and gone without a trace afterwards.
//!
//! In reading order: [`process`] (a program that never outlives us), [`cache`] (what is downloaded once), [`venv`] and
//! [`debian`] (how), then the parts: [`postgres`] (a throw-away cluster and a database for each test), [`synapse`].

use std::net::TcpListener;
use std::time::Duration;

use anyhow::Result;

pub mod cache;
pub mod debian;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod synapse;
pub mod venv;

/// A port of the loopback interface that nobody listens at now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A client for the parts, none of which lies behind a proxy.
fn http_client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(120)).build()?)
}

/// Percent-encodes text for one part of a URL.
fn percent_encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}
