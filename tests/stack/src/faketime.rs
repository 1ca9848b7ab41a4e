//! Another time of day for one program, by libfaketime.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::debian;

/// The library to preload, where it is installed.
pub fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// What makes a program see another time of day. Its monotonic clock, like that of any machine, goes on as it should.
pub async fn shifted(offset: &str) -> Result<[(&'static str, String); 3]> {
    let [library, offset] = preloaded(offset).await?;
    Ok([library, offset, ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned())])
}

/// What makes all clocks of a program run faster so many times.
pub async fn faster(speed: u32) -> Result<[(&'static str, String); 2]> {
    preloaded(&format!("+0 x{speed}")).await
}

async fn preloaded(clock: &str) -> Result<[(&'static str, String); 2]> {
    if library().is_none() {
        debian::install(&["libfaketime"]).await?;
    }
    let library = library().context("libfaketime is needed; on Debian it is the package libfaketime")?;
    Ok([("LD_PRELOAD", library.to_string_lossy().into_owned()), ("FAKETIME", clock.to_owned())])
}
