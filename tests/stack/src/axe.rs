//! axe-core, which finds what keeps people from using a page: from npm, in the cache.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::browser::Page;
use crate::{cache, process, progress};

const VERSION: &str = "4.11.1";
const INSTALL_WITHIN: Duration = Duration::from_secs(5 * 60);

/// axe-core finds nothing serious in a part of the page, and no script has complained.
pub async fn nothing_keeps_anybody_out(page: &Page<'_>, part: &str) -> Result<()> {
    let mut found = page.barriers(&script().await?, part).await?;
    found.extend(page.script_errors().await?);
    ensure!(found.is_empty(), "in {part} of {}: {found:#?}", page.address().await?);
    Ok(())
}

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
