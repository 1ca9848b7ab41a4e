//! This repository's addons, adapted to one series of Odoo.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

const MANIFEST: &str = "__manifest__.py";
const WRITTEN_FOR: &str = "18.0";

/// The addons in `folder`, by name.
pub(super) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no addons in {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().join(MANIFEST).exists() {
            names.push(entry.file_name().into_string().ok().context("an addon's name is ASCII")?);
        }
    }
    names.sort();
    Ok(names)
}

/// Copies the addons of `from` into `to`. Another series refuses the version prefix of the manifests, so it is rewritten.
pub(super) fn copy(from: &Path, to: &Path, series: &str) -> Result<()> {
    for name in names(from)? {
        copy_folder(&from.join(&name), &to.join(&name))?;
        let path = to.join(&name).join(MANIFEST);
        let manifest = fs::read_to_string(&path)?;
        let rewritten = manifest.replace(&format!("\"{WRITTEN_FOR}."), &format!("\"{series}."));
        ensure!(rewritten.contains(&format!("\"{series}.")), "{name}: {MANIFEST} names no version {WRITTEN_FOR}.…");
        fs::write(path, rewritten)?;
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        if entry.is_dir() {
            copy_folder(&entry, &target)?;
        } else {
            fs::copy(&entry, &target).with_context(|| format!("cannot copy {}", entry.display()))?;
        }
    }
    Ok(())
}
