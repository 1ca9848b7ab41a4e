//! axe-core, which finds what keeps people from using a page: from npm, in the cache.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{cache, process, progress};

const VERSION: &str = "4.11.1";
const INSTALL_WITHIN: Duration = Duration::from_secs(5 * 60);

/// The script that a page runs, downloaded if missing.
pub async fn script() -> Result<String> {
    let folder = cache::folder(&format!("axe-core-{VERSION}"), async |place| {
        progress::say("axe-core: installing from npm");
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).arg(place);
        npm.arg(format!("axe-core@{VERSION}"));
        let installed = process::run("npm install", npm, &place.join("install.log"), INSTALL_WITHIN).await;
        installed.context("on Debian npm is in the package npm")
    })
    .await?;
    let file = folder.join("node_modules/axe-core/axe.min.js");
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}
