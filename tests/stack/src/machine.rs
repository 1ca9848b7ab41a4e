//! A Debian of its own with a real systemd, booted by systemd-nspawn. It shares this machine's network, so that what runs inside
//! reaches the databases and homeservers of the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::process::{self, Process, Signal};
use crate::{cache, debian, progress, scratch};

/// The suite that the container is of.
const SUITE: &str = "bookworm";
const INCLUDED: &str = "systemd,systemd-sysv,dbus,ca-certificates";

const MAKE_WITHIN: Duration = Duration::from_secs(20 * 60);
const BOOT_WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How systemd-nspawn ends when the container asks for a reboot.
const REBOOT: i32 = 133;

/// A booted container. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Machine {
    /// Declared before the folder, which must be removed last.
    nspawn: Mutex<Process>,
    folder: TempDir,
}

/// Why no container can be booted here; `None` when it can.
pub fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("systemd-nspawn needs root".to_owned());
    }
    let missing: Vec<_> = ["systemd-nspawn", "debootstrap", "nsenter"].into_iter().filter(|name| !has(name)).collect();
    if missing.is_empty() { None } else { Some(format!("{} is not installed", missing.join(" and "))) }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// The files of a freshly installed system, made once.
pub async fn root() -> Result<PathBuf> {
    let name = format!("machine-{SUITE}-{}", cache::digest(INCLUDED));
    cache::in_place(&name, async |place| {
        progress::say(format!("Debian {SUITE}: making the root of a container"));
        let mut make = Command::new("debootstrap");
        make.args(["--variant=minbase", &format!("--include={INCLUDED}"), SUITE]);
        make.arg(place.join("root")).arg(debian::mirror()?).env("LC_ALL", "C.UTF-8");
        process::run("debootstrap", make, &place.join("debootstrap.log"), MAKE_WITHIN).await?;
        // What would work beside the test.
        let mut mask = Command::new("systemctl");
        mask.arg(format!("--root={}", place.join("root").display())).args(["mask"]);
        mask.args(["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"]);
        process::run("systemctl mask", mask, &place.join("debootstrap.log"), MAKE_WITHIN).await
    })
    .await
    .map(|place| place.join("root"))
}

impl Machine {
    /// Boots a fresh system.
    pub async fn boot() -> Result<Self> {
        let made = root().await?;
        let folder = scratch("machine")?;
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto"]).arg(made).arg(folder.path().join("root"));
        process::run("cp", copy, &folder.path().join("cp.log"), MAKE_WITHIN).await?;
        let machine = Self { nspawn: Mutex::new(nspawn(folder.path())?), folder };
        machine.until_booted().await?;
        Ok(machine)
    }

    /// Where a path of the container lies on this machine.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join("root").join(inside.trim_start_matches('/'))
    }

    /// Runs a line of shell inside, as root, and gives what it printed.
    pub async fn run(&self, line: &str) -> Result<String> {
        let output = self.try_run(line).await?;
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "in the container: {line}: {}\n{out}{error}", output.status);
        Ok(out.into_owned())
    }

    /// As [`Self::run`], whatever comes of it.
    pub async fn try_run(&self, line: &str) -> Result<Output> {
        let leader = self.leader().await?;
        let mut enter = tokio::process::Command::new("nsenter");
        enter.args(["--target", &leader, "--all", "env", "-i", "LC_ALL=C.UTF-8"]);
        enter.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", &format!("cd /; {line}")]).kill_on_drop(true);
        enter.output().await.context("cannot start nsenter")
    }

    /// Runs `line` again and again until it succeeds; says how long that took.
    pub async fn until(&self, line: &str, limit: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let output = self.try_run(line).await;
            if output.as_ref().is_ok_and(|output| output.status.success()) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > limit {
                let last =
                    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
                bail!("in the container, not within {} s: {line}\n{last}", limit.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Reboots the system, as its administrator does.
    pub async fn reboot(&self) -> Result<()> {
        self.run("systemctl reboot").await?;
        let mut nspawn_now = self.nspawn.lock().await;
        let status = nspawn_now.wait(BOOT_WITHIN).await?;
        ensure!(
            status.code() == Some(REBOOT),
            "the container ended ({status}) instead of rebooting\n{}",
            nspawn_now.tail()
        );
        *nspawn_now = nspawn(self.folder.path())?;
        drop(nspawn_now);
        self.until_booted().await
    }

    async fn until_booted(&self) -> Result<()> {
        let deadline = Instant::now() + BOOT_WITHIN;
        loop {
            // It exists before it answers.
            if let Ok(output) = self.try_run("systemctl is-system-running").await
                && ["running\n", "degraded\n"].iter().any(|state| output.stdout == state.as_bytes())
            {
                return Ok(());
            }
            let nspawn = self.nspawn.lock().await;
            if let Some(status) = nspawn.exit_status()? {
                bail!("the container ended ({status}) while it booted\n{}", nspawn.tail());
            }
            ensure!(Instant::now() < deadline, "the container does not boot\n{}", nspawn.tail());
            drop(nspawn);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The process that is systemd inside.
    async fn leader(&self) -> Result<String> {
        let nspawn = self.nspawn.lock().await.id();
        let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children"))?;
        Ok(children.split_whitespace().next().context("the container has no first process yet")?.to_owned())
    }
}

fn nspawn(folder: &Path) -> Result<Process> {
    let mut command = Command::new("systemd-nspawn");
    command.args(["--boot", "--register=no", "--keep-unit", "--link-journal=no", "--console=read-only", "--quiet"]);
    // The name of this machine's host is not the container's.
    command.args(["--machine", &format!("matrix-{}", std::process::id()), "--hostname", "matrix-test"]);
    command.arg("--directory").arg(folder.join("root"));
    let started = Process::spawn("systemd-nspawn", command, &folder.join("console.log"))?;
    // A container that nobody needs any more need not shut down in order.
    Ok(started.ends_on(Signal::KILL))
}
