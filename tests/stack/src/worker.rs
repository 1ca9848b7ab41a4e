//! The built worker, with a role of its own, beside a database that has the contract.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::postgres::{Database, Server};
use crate::process::Process;
use crate::{progress, scratch};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running worker. Dropping it ends it by SIGTERM: it finishes what it has begun.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    _folder: TempDir,
}

/// How to start workers on one database.
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    owner: Server,
    server: Server,
    database: String,
    variables: Vec<(String, String)>,
}

impl Launch {
    /// Makes the worker's role in `database` with exactly the rights that `odoo-matrix-worker grants` prints.
    pub async fn prepare(binary: &Path, database: &mut Database) -> Result<Self> {
        let server = database.create_role("worker").await?;
        let grants = Command::new(binary).args(["grants", "--role", &server.role]).output();
        let grants = grants.with_context(|| format!("cannot start {}", binary.display()))?;
        if !grants.status.success() {
            bail!("the worker prints no grants: {}", String::from_utf8_lossy(&grants.stderr));
        }
        let granted = database.connect().await?.batch_execute(&String::from_utf8(grants.stdout)?).await;
        granted.context("the database refuses the worker's grants")?;
        Ok(Self {
            binary: binary.to_owned(),
            owner: database.server().clone(),
            server,
            database: database.name().to_owned(),
            variables: Vec::new(),
        })
    }

    /// Sets a variable of the worker's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The worker's role.
    pub fn role(&self) -> &str {
        &self.server.role
    }

    /// The server as the worker's role sees it.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The name of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The database as the worker's role sees it.
    pub fn url(&self) -> String {
        self.server.url(&self.database)
    }

    /// A command of the worker (`check`, `drain`, …) in the same environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("DATABASE_URL", self.url());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a worker named `name` and waits until its heartbeat is in the database.
    pub async fn start(&self, name: &str) -> Result<Worker> {
        let folder = scratch("worker")?;
        let mut command = self.command(&["run"]);
        command.env("WORKER_NAME", name);
        let process = Process::spawn("the worker", command, &folder.path().join("worker.log"))?;
        let owner = self.owner.connect(&self.database).await?;
        let (name, id) = (name.to_owned(), i32::try_from(process.id())?);
        let seen = || async {
            let found =
                owner.query_opt("SELECT 1 FROM matrix_worker WHERE name = $1 AND pid = $2", &[&name, &id]).await;
            found.ok().flatten().map(drop)
        };
        process.until("reported itself", READY_WITHIN, seen).await?;
        progress::say(format!("Worker: {name} delivers"));
        Ok(Worker { process, _folder: folder })
    }
}

/// The worker with its failpoints, built beside `binary`, the one under test, at the first call.
///
/// # Panics
/// If it does not build.
pub fn with_failpoints(binary: &str) -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        let beside = Path::new(binary).with_file_name("odoo-matrix-worker-failpoints");
        let target = beside.parent().and_then(Path::parent).expect("cargo's folder `debug` is in its target folder");
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // With the example the dependencies are those that the tests have, which are built already.
        build.args(["build", "--workspace", "--features", "failpoints", "--locked", "--example", "manual"]);
        build.args(["--bin", "odoo-matrix-worker-failpoints", "--target-dir"]).arg(target);
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo has built this test");
        assert!(built.status.success(), "no failpoints:\n{}", String::from_utf8_lossy(&built.stderr));
        beside.into_os_string().into_string().expect("it was text")
    })
}

impl Worker {
    /// The running program, to stop, to kill and to look at.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
