//! A cluster in a folder of its own, from the installed binaries.
//!
//! PostgreSQL refuses to run as root; then it runs as `nobody`. Local users are kept out: TCP asks for a random
//! password and the socket lies in a folder that only the cluster's user enters.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_postgres::Config;

use super::{Options, Server, Shutdown};
use crate::process::{self, Process, Signal};
use crate::{cache, free_port, scratch};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// The superuser. Odoo refuses the usual name `postgres`.
const ROLE: &str = "stack";
/// What makes a throw-away server quick: nothing of it has to outlive the machine.
const NOT_DURABLE: [(&str, &str); 3] = [("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")];

#[derive(Debug)]
pub(super) struct Cluster {
    /// Declared before the folder, which must be removed last.
    postmaster: Mutex<Option<Process>>,
    server: Server,
    settings: Vec<(String, String)>,
    folder: TempDir,
}

impl Cluster {
    pub(super) async fn start(options: Options) -> Result<Self> {
        let folder = scratch("postgres")?;
        copy(&template().await?, &folder.path().join("data")).await?;

        let mut settings: Vec<(String, String)> = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &folder.path().to_string_lossy()),
            ("max_connections", "200"),
            ("log_line_prefix", "%m %a %d "),
            // A time that is not marked as UTC must be noticed.
            ("timezone", "Asia/Kathmandu"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        if !options.durable {
            settings.extend(NOT_DURABLE.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        settings.extend(options.settings);

        let password = super::password();
        let port = free_port()?;
        let server = Server { host: "127.0.0.1".to_owned(), port, role: ROLE.to_owned(), password };
        let cluster = Self { postmaster: Mutex::new(None), server, settings, folder };
        cluster.launch().await?;
        Ok(cluster)
    }

    /// Starts a server that follows this one and is read-only until it is promoted.
    pub(super) async fn standby(&self) -> Result<Self> {
        let folder = scratch("postgres")?;
        own(folder.path())?;
        let mut backup = unprivileged(&bin("pg_basebackup")?, folder.path());
        backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--username", ROLE]);
        backup.arg("--host").arg(self.folder.path()).args(["--port", &self.server.port.to_string()]);
        backup.arg("--pgdata").arg(folder.path().join("data"));
        process::run("pg_basebackup", backup, &folder.path().join("backup.log"), Duration::from_secs(60)).await?;

        let mut settings = self.settings.clone();
        settings.push(("unix_socket_directories".to_owned(), folder.path().to_string_lossy().into_owned()));
        let server = Server { port: free_port()?, ..self.server.clone() };
        let standby = Self { postmaster: Mutex::new(None), server, settings, folder };
        standby.launch().await?;
        Ok(standby)
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Starts the server on the cluster's data and waits until it takes connections.
    pub(super) async fn launch(&self) -> Result<()> {
        let mut postmaster = self.postmaster.lock().await;
        if postmaster.is_some() {
            bail!("PostgreSQL runs already");
        }
        let mut command = unprivileged(&bin("postgres")?, self.folder.path());
        command.arg("-D").arg(self.folder.path().join("data")).args(["-p", &self.server.port.to_string()]);
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let started = Process::spawn("PostgreSQL", command, &self.folder.path().join("postgres.log"))?;
        // SIGTERM would wait for the sessions to end.
        let started = started.ends_on(Signal::QUIT);
        let set_password = format!("ALTER ROLE {ROLE} PASSWORD '{}'", self.server.password);
        let ready = || async {
            let client = self.socket().await.ok()?;
            // A standby has it from its primary.
            let is_standby: bool = client.query_one("SELECT pg_is_in_recovery()", &[]).await.ok()?.get(0);
            if is_standby { Some(()) } else { client.batch_execute(&set_password).await.ok() }
        };
        started.until("took connections", READY_WITHIN, ready).await?;
        *postmaster = Some(started);
        Ok(())
    }

    /// Stops the server and starts it as a standby that nothing feeds: it is read-only from now on.
    pub(super) async fn demote(&self) -> Result<()> {
        self.stop(Shutdown::Fast).await?;
        std::fs::write(self.folder.path().join("data/standby.signal"), "")?;
        self.launch().await
    }

    pub(super) async fn stop(&self, how: Shutdown) -> Result<()> {
        let postmaster = self.postmaster.lock().await.take().context("PostgreSQL does not run")?;
        let signal = match how {
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        };
        postmaster.stop(signal).await?;
        Ok(())
    }

    /// A connection through the socket, which asks for no password.
    async fn socket(&self) -> Result<tokio_postgres::Client> {
        let mut config = Config::new();
        config.host_path(self.folder.path()).port(self.server.port).user(ROLE).dbname("postgres");
        super::connect(&config).await
    }
}

/// The folder of the server binaries: those on the path, else the newest of Debian's packages. Looked for each time: they
/// may be installed while we run.
pub(super) fn binaries() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    let on_path = env::split_paths(&env::var_os("PATH").unwrap_or_default()).find(complete);
    // A link to the server alone leads to the folder that has the other commands too.
    let on_path = on_path.and_then(|folder| folder.join("postgres").canonicalize().ok()?.parent().map(Path::to_owned));
    let version = |folder: &PathBuf| folder.file_name().and_then(OsStr::to_str)?.parse::<u32>().ok();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut packaged: Vec<_> = versions.filter_map(|folder| Some((version(&folder)?, folder.join("bin")))).collect();
    packaged.sort();
    on_path.or_else(|| packaged.into_iter().map(|(_, folder)| folder).rev().find(complete))
}

fn bin(name: &str) -> Result<PathBuf> {
    let folder = binaries().context("PostgreSQL's server is not installed (on Debian the package postgresql)")?;
    Ok(folder.join(name))
}

/// An initialised cluster to copy: `initdb` takes seconds, a copy does not.
async fn template() -> Result<PathBuf> {
    let version = Command::new(bin("postgres")?).arg("--version").output()?;
    let version = String::from_utf8_lossy(&version.stdout).split_whitespace().nth(2).map(str::to_owned);
    let name = format!("postgres-{}", version.context("postgres --version tells no version")?);
    cache::folder(&name, async |place| {
        let folder = scratch("initdb")?;
        own(folder.path())?;
        let mut initdb = unprivileged(&bin("initdb")?, folder.path());
        initdb.args([
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ]);
        initdb.arg("--username").arg(ROLE).arg("-D").arg(folder.path().join("data"));
        process::run("initdb", initdb, &folder.path().join("initdb.log"), Duration::from_secs(120)).await?;
        let mut cp = Command::new("cp");
        cp.arg("-r").arg(folder.path().join("data/.")).arg(place);
        process::run("cp", cp, &folder.path().join("cp.log"), Duration::from_secs(60)).await
    })
    .await
}

/// Copies the template to where the cluster's user owns it and its folder.
async fn copy(template: &Path, data: &Path) -> Result<()> {
    let folder = data.parent().context("the data folder has a parent")?;
    let mut cp = Command::new("cp");
    cp.arg("-r").arg(template).arg(data);
    process::run("cp", cp, &folder.join("cp.log"), Duration::from_secs(60)).await?;
    own(folder)?;
    if let Some((user, group)) = stand_in() {
        let mut chown = Command::new("chown");
        chown.arg("-R").arg(format!("{user}:{group}")).arg(data);
        process::run("chown", chown, &folder.join("cp.log"), Duration::from_secs(60)).await?;
    }
    let mut chmod = Command::new("chmod");
    chmod.args(["-R", "u=rwX,go="]).arg(data);
    process::run("chmod", chmod, &folder.join("cp.log"), Duration::from_secs(60)).await
}

/// Gives a folder or file to the user that the server runs as.
pub fn own(folder: &Path) -> Result<()> {
    if let Some((user, group)) = stand_in() {
        chown(folder, Some(user), Some(group)).with_context(|| format!("cannot give away {}", folder.display()))?;
    }
    Ok(())
}

/// A program that refuses to run as root.
pub(super) fn unprivileged(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("LC_ALL", "C.UTF-8");
    if let Some((user, group)) = stand_in() {
        command.uid(user).gid(group);
    }
    command
}

/// User and group to run as instead of root: `nobody`, or its usual numbers where no such user is listed.
fn stand_in() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let nobody = users.lines().find_map(|line| line.strip_prefix("nobody:"));
    let mut numbers = nobody.into_iter().flat_map(|rest| rest.split(':').skip(1)).map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(user), Some(group)) => Some((user, group)),
        _ => Some((65534, 65534)),
    }
}
