//! Debian's packages: unpacked into the cache, or installed where a server program cannot be had otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{process, progress, scratch};

const FETCH_WITHIN: Duration = Duration::from_secs(20 * 60);
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// An apt configuration that knows one suite of Debian and keeps everything in a folder of its own.
#[derive(Debug)]
pub struct Suite {
    folder: PathBuf,
    name: String,
}

impl Suite {
    /// Reads the package lists of the suite `name` (`sid`, …) into `folder`, from the mirror that this machine uses.
    pub async fn open(name: &str, folder: &Path) -> Result<Self> {
        let suite = Self { folder: folder.to_owned(), name: name.to_owned() };
        for sub in ["lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(folder.join(sub))?;
        }
        let keyring = ["debian-archive-keyring.gpg", "debian-archive-keyring.pgp"]
            .map(|file| Path::new("/usr/share/keyrings").join(file))
            .into_iter()
            .find(|path| path.exists())
            .context("Debian's keys are missing: install the package debian-archive-keyring")?;
        let source = format!("deb [signed-by={}] {} {name} main\n", keyring.display(), mirror()?);
        fs::write(folder.join("sources.list"), source)?;
        // The folder may lie where the user `_apt` cannot look.
        let settings = format!(
            "Dir::Etc::sourcelist \"{0}/sources.list\";\nDir::Etc::sourceparts \"{0}/parts\";\n\
             Dir::State::Lists \"{0}/lists\";\nDir::State::status \"/dev/null\";\nDir::Cache \"{0}/cache\";\n\
             Acquire::Languages \"none\";\nAcquire::Retries \"3\";\nAPT::Sandbox::User \"root\";\n",
            folder.display()
        );
        fs::write(folder.join("apt.conf"), settings)?;
        suite.apt(&["update"], folder).await?;
        Ok(suite)
    }

    /// Downloads the packages, verified as apt does, and unpacks all of them into the folder `into`.
    pub async fn unpack(&self, packages: &[&str], into: &Path) -> Result<()> {
        let archives = self.folder.join("archives");
        fs::create_dir_all(&archives)?;
        let mut arguments = vec!["download"];
        arguments.extend(packages);
        self.apt(&arguments, &archives).await.with_context(|| {
            format!("Debian's suite {} does not give all of {}: has one moved?", self.name, packages.join(", "))
        })?;
        for archive in fs::read_dir(&archives)? {
            let mut dpkg = Command::new("dpkg");
            dpkg.arg("-x").arg(archive?.path()).arg(into);
            process::run("dpkg -x", dpkg, &self.log(), FETCH_WITHIN).await?;
        }
        Ok(())
    }

    async fn apt(&self, arguments: &[&str], cwd: &Path) -> Result<()> {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).current_dir(cwd).env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C.UTF-8");
        process::run(&format!("apt-get {}", arguments[0]), apt, &self.log(), FETCH_WITHIN).await
    }

    fn log(&self) -> PathBuf {
        self.folder.join("apt.log")
    }
}

/// Whether we are root on a machine with apt.
pub fn may_install() -> bool {
    rustix::process::geteuid().is_root() && Command::new("apt-get").arg("--version").output().is_ok()
}

/// Installs `packages` on the system, as root and without starting any service; else an error that says what to type.
pub async fn install(packages: &[&str]) -> Result<()> {
    let advice = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !may_install() {
        bail!("{} must be installed; on Debian: sudo {advice}", packages.join(" and "));
    }
    progress::say(format!("Debian's packages: installing {}", packages.join(", ")));
    let folder = scratch("apt")?;
    let _no_service = NoService::begin()?;
    for arguments in [vec!["update"], [&["install", "-y", "--no-install-recommends"], packages].concat()] {
        let mut apt = Command::new("apt-get");
        apt.args(&arguments).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
        let name = format!("apt-get {}", arguments[0]);
        process::run(&name, apt, &folder.path().join("apt.log"), FETCH_WITHIN).await?;
    }
    Ok(())
}

/// Keeps packages from starting their services, while it lives, unless the machine has a policy of its own.
struct NoService {
    ours: bool,
}

impl NoService {
    fn begin() -> Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(POLICY, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoService {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// The mirror of Debian itself (not of its security updates) in apt's configuration.
pub(crate) fn mirror() -> Result<String> {
    let answer = Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI) $(COMPONENT)"]).output();
    let answer = answer.context("apt-get is missing: this needs Debian, or ODOO_CMD that names an installed Odoo")?;
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    let mut mirrors =
        answer.lines().filter_map(|line| line.strip_suffix(" main")).filter(|uri| !uri.contains("security"));
    let debian = mirrors.find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    debian.map(str::to_owned).context("apt's configuration names no mirror of Debian (a source that ends in /debian)")
}
