//! What is made or downloaded once and kept outside the tree: `$XDG_CACHE_HOME/odoo-matrix`, else `~/.cache/odoo-matrix`.
//!
//! An entry is a folder whose name contains everything that it depends on. It is made beside its place and renamed into
//! it, under a lock, so that an interrupted download leaves nothing that looks finished and two runs do not download
//! twice.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

/// The folder of all entries, made if missing.
pub fn root() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| Path::new(value).is_absolute()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache"),
    };
    let root = base.join("odoo-matrix");
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    Ok(root)
}

/// The folder `name` of the cache. If it is missing, `make` fills an empty folder, which then takes its place.
///
/// The path that `make` sees is not the final one: what is written must not contain it (a Python venv does, see
/// [`in_place`]).
pub async fn folder(name: &str, make: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let place = root()?.join(name);
    if place.exists() {
        return Ok(place);
    }
    let _lock = lock(name).await?;
    if !place.exists() {
        let unfinished = tempfile::Builder::new().prefix(&format!(".{name}-")).tempdir_in(root()?)?;
        make(unfinished.path()).await?;
        fs::rename(unfinished.path(), &place).with_context(|| format!("cannot make {}", place.display()))?;
        // The folder is not where the guard would remove it.
        let _ = unfinished.keep();
    }
    Ok(place)
}

/// As [`folder`] for content that contains its own path: filled where it stays, with a file `finished` written last.
pub async fn in_place(name: &str, make: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let place = root()?.join(name);
    let finished = place.join("finished");
    if finished.exists() {
        return Ok(place);
    }
    let _lock = lock(name).await?;
    if !finished.exists() {
        if place.exists() {
            fs::remove_dir_all(&place).with_context(|| format!("cannot remove the unfinished {}", place.display()))?;
        }
        fs::create_dir_all(&place)?;
        make(&place).await?;
        fs::write(&finished, "")?;
    }
    Ok(place)
}

/// Waits for the entry's lock, which the system gives back when the process ends.
async fn lock(name: &str) -> Result<File> {
    let path = root()?.join(format!(".{name}.lock"));
    tokio::task::spawn_blocking(move || {
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive).with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    })
    .await?
}

/// A short name for a long text: FNV-1a, the same on every machine and with every compiler, which the standard hasher does
/// not promise.
pub fn digest(text: &str) -> String {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    format!("{:08x}", text.bytes().fold(0x811c_9dc5, step))
}
