//! Python environments in the cache, filled from PyPI with exactly the versions of a list.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{cache, process, progress};

const INSTALL_WITHIN: Duration = Duration::from_secs(20 * 60);
const CANDIDATES: [&str; 4] = ["python3.11", "python3.12", "python3.13", "python3"];

/// A Python environment.
#[derive(Clone, Debug)]
pub struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The environment `name` with the packages of `requirements` (the text of a requirements file), made if missing.
    pub async fn get(name: &str, requirements: &str) -> Result<Self> {
        let (python, version) = python()?;
        let entry = format!("{name}-python{version}-{}", cache::digest(requirements));
        let folder = cache::in_place(&entry, async |place| {
            progress::say(format!("{name}: installing from PyPI"));
            let log = place.join("install.log");
            let mut venv = Command::new(python);
            venv.args(["-m", "venv"]).arg(place.join("venv"));
            let made = process::run("python -m venv", venv, &log, INSTALL_WITHIN).await;
            made.context("on Debian the package python3-venv makes environments possible")?;
            let (list, constraints) = (place.join("requirements.txt"), place.join("constraints.txt"));
            std::fs::write(&list, requirements)?;
            // Some packages come as source and still build with what newer setuptools have dropped.
            std::fs::write(&constraints, "setuptools<81\n")?;
            let mut pip = Command::new(place.join("venv/bin/python"));
            pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "-r"]).arg(list);
            pip.env("PIP_CONSTRAINT", constraints);
            process::run(&format!("pip for {name}"), pip, &log, INSTALL_WITHIN).await
        })
        .await?;
        Ok(Self { folder: folder.join("venv") })
    }

    /// A program of the environment.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// The folder of the environment.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The first Python that is new enough, and its version as `3.11`.
fn python() -> Result<(&'static str, String)> {
    for candidate in CANDIDATES {
        let mut ask = Command::new(candidate);
        ask.args(["-c", "import sys; v = sys.version_info; print(f'{v[0]}.{v[1]}') if v >= (3, 11) else sys.exit(1)"]);
        let Ok(answer) = ask.output() else { continue };
        if answer.status.success() {
            return Ok((candidate, String::from_utf8(answer.stdout)?.trim().to_owned()));
        }
    }
    bail!("no Python 3.11 or newer on the path (looked for {})", CANDIDATES.join(", "))
}
