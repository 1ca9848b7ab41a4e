//! What a fresh machine lacks.

use std::env;

use anyhow::Result;
use stack::nio::Nio;
use stack::odoo::Odoo;
use stack::synapse::Synapse;
use stack::venv::Venv;
use stack::{axe, debian, machine, postgres};
use tokio::try_join;

/// What the demo needs: PostgreSQL, Synapse, Odoo.
pub(crate) async fn parts() -> Result<()> {
    system(false).await?;
    try_join!(Synapse::install(), Odoo::install()).map(drop)
}

/// What the quick checks need: PostgreSQL and the linters.
pub(crate) async fn fast() -> Result<()> {
    system(false).await?;
    linters().await.map(drop)
}

/// What the demo and all checks need.
pub(crate) async fn everything() -> Result<()> {
    system(true).await?;
    try_join!(Synapse::install(), Odoo::install(), Nio::install(), linters(), machine(), axe::script()).map(drop)
}

/// The container for the tests of the service, where we may boot one. Elsewhere these tests say that they are skipped.
pub(crate) async fn machine() -> Result<()> {
    if machine::why_not().is_some() && debian::may_install() {
        debian::install(&["systemd-container", "debootstrap"]).await?;
    }
    match machine::why_not() {
        None => machine::root().await.map(drop),
        Some(_) => Ok(()),
    }
}

/// The environment with ruff and pylint-odoo.
pub(crate) async fn linters() -> Result<Venv> {
    Venv::get("lint", include_str!("../../python/lint.txt")).await
}

/// Installs the programs that only the system's packages give.
async fn system(browser: bool) -> Result<()> {
    let mut missing = Vec::new();
    // Where packages may not be installed a container can serve; if that fails too, the start of the server says so.
    if env::var_os("TEST_DATABASE_URL").is_none() && postgres::binaries().is_none() && debian::may_install() {
        missing.push("postgresql");
    }
    if !has("python3") {
        missing.push("python3");
    }
    if !bundles_pip() {
        missing.push("python3-venv");
    }
    if browser && stack::browser::program().is_none() {
        missing.push("chromium");
    }
    // For axe-core, which looks at the screens.
    if browser && !has("npm") {
        missing.push("npm");
    }
    // For the tests of faults: a wrong clock, a network that is cut.
    if browser && stack::faketime::library().is_none() && debian::may_install() {
        missing.push("libfaketime");
    }
    if browser && !has("ip") && debian::may_install() {
        missing.push("iproute2");
    }
    // For the tests behind a connection pooler.
    if browser && postgres::pgbouncer::program().is_none() && debian::may_install() {
        missing.push("pgbouncer");
    }
    if missing.is_empty() { Ok(()) } else { debian::install(&missing).await }
}

fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// Whether Python can make an environment with pip in it, which Debian parts off into a package.
fn bundles_pip() -> bool {
    let asked = std::process::Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    asked.is_ok_and(|answer| answer.status.success())
}
