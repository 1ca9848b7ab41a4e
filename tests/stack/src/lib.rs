//! The real parts that tests and demo run on, each started from nothing and gone without a trace afterwards.
//!
//! In reading order: [`process`] (a program that never outlives us), [`cache`] (what is downloaded once), [`venv`] and
//! [`debian`] (how), then the parts: [`postgres`] (a throw-away cluster and a database for each test), [`synapse`],
//! [`odoo`], [`worker`], [`browser`]. [`office`] joins them to a law office that uses Matrix, and [`story`] is a day in it.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

pub mod axe;
pub mod browser;
pub mod cache;
mod changes;
pub mod debian;
pub mod faketime;
pub mod files;
pub mod homeserver;
pub mod machine;
pub mod nio;
pub mod odoo;
pub mod office;
pub mod package;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod proxy;
pub mod relay;
pub mod report;
pub mod schedule;
pub mod story;
pub mod synapse;
pub mod usage;
pub mod venv;
pub mod webhook;
pub mod worker;
pub mod world;

/// A port of the loopback interface on which nobody listens now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A new folder that only we enter, removed when it is dropped and at the latest when this process is gone.
fn scratch(purpose: &str) -> Result<TempDir> {
    let prefix = format!("odoo-matrix-{purpose}-");
    let folder = tempfile::Builder::new().prefix(&prefix).permissions(Permissions::from_mode(0o700)).tempdir()?;
    process::remove_at_exit(folder.path());
    Ok(folder)
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

/// Runs what blocks. The parts that live in this process, proxies and homeservers, go on meanwhile where the runtime has
/// threads for them.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
