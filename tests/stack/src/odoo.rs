//! A real Odoo with this repository's addons.
//!
//! `ODOO_CMD` names how to start one that is there already (`/opt/odoo/venv/bin/python /opt/odoo/odoo-bin`; words are
//! parted by blanks). Else `packaged` fetches Debian's. Nothing is installed on the system.

mod addons;
mod base;
mod client;
mod packaged;
mod site;
mod tests;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

pub use client::Client;
pub use site::{Server, Site, fernet_key};
pub use tests::Report;

/// An Odoo that can be started.
#[derive(Debug)]
pub struct Odoo {
    command: Vec<OsString>,
    python_path: Option<PathBuf>,
    series: String,
    source: String,
}

impl Odoo {
    /// Takes the Odoo of `ODOO_CMD`, else Debian's packaged one, downloaded if missing.
    pub async fn install() -> Result<Self> {
        match env::var("ODOO_CMD") {
            Ok(words) if !words.trim().is_empty() => Self::given(&words),
            _ => packaged::install().await.context("Debian's packaged Odoo cannot be had"),
        }
    }

    fn given(words: &str) -> Result<Self> {
        let command: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        let answer = Command::new(&command[0]).args(&command[1..]).arg("--version").output();
        let answer = answer.with_context(|| format!("ODOO_CMD={words}: cannot be started"))?;
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        // "Odoo Server 18.0", "Odoo Server 18.0-20250801"
        let version = text.trim().rsplit(' ').next().unwrap_or_default();
        let series = version.split('-').next().unwrap_or_default().to_owned();
        if !answer.status.success() || !series.contains('.') {
            bail!(
                "ODOO_CMD={words}: --version gave no version but: {}",
                text + &String::from_utf8_lossy(&answer.stderr)
            );
        }
        Ok(Self::new(command, None, series, format!("ODOO_CMD {words}")))
    }

    fn new(command: Vec<OsString>, python_path: Option<PathBuf>, series: String, source: String) -> Self {
        Self { command, python_path, series, source }
    }

    /// `18.0`, `19.0`.
    pub fn series(&self) -> &str {
        &self.series
    }

    /// Where this Odoo comes from, for people.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        if let Some(path) = &self.python_path {
            command.env("PYTHONPATH", path);
        }
        command
    }

    /// The switches that load demo data or leave it out, whatever this series does by itself.
    fn demo_switch(&self, demo: bool) -> Option<&'static str> {
        let by_itself = matches!(self.series.split('.').next().and_then(|major| major.parse().ok()), Some(..=18_u32));
        match (by_itself, demo) {
            (true, false) => Some("--without-demo=all"),
            (false, true) => Some("--with-demo"),
            _ => None,
        }
    }
}

/// The folder of this repository's addons.
pub fn addons_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../odoo_addon"))
}

/// The names of this repository's addons.
pub fn addon_names() -> Result<Vec<String>> {
    let names = addons::names(addons_folder())?;
    ensure!(!names.is_empty(), "{} holds no addon", addons_folder().display());
    Ok(names)
}
