//! One Odoo database with our addons: set up, tested, served.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::base::Base;
use super::{Client, Odoo, Report, addons, addons_folder, base, tests};
use crate::postgres::{self, Database, Postgres};
use crate::process::{self, Process};
use crate::{free_port, progress, scratch};

const INSTALL_WITHIN: Duration = Duration::from_secs(15 * 60);
const TEST_WITHIN: Duration = Duration::from_secs(40 * 60);
const READY_WITHIN: Duration = Duration::from_secs(180);
/// The addon that tries automation rules on tasks where it finds them, and what brings them.
const USES_RULES: &str = "test_mail_matrix";
const RULES: &str = ",base_automation,project";

/// A database of Odoo and the folder that belongs to it. Dropping it removes both.
#[derive(Debug)]
pub struct Site {
    odoo: Arc<Odoo>,
    database: Database,
    conf: PathBuf,
    token_key: String,
    demo: bool,
    folder: TempDir,
}

/// A site that answers requests. Dropping it ends the server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    url: String,
    database: String,
}

impl Site {
    /// Copies the base database and puts this repository's addons beside it; installs none of them yet.
    pub async fn make(odoo: &Arc<Odoo>, postgres: &Postgres, demo: bool) -> Result<Self> {
        Self::copy(odoo, postgres, &*Base::get(odoo, postgres, demo, &[]).await?).await
    }

    /// As [`Self::make`], with these addons installed.
    pub async fn with(odoo: &Arc<Odoo>, postgres: &Postgres, addons: &[String]) -> Result<Self> {
        Self::copy(odoo, postgres, &*Base::get(odoo, postgres, false, addons).await?).await
    }

    pub(super) async fn copy(odoo: &Arc<Odoo>, postgres: &Postgres, base: &Base) -> Result<Self> {
        let folder = scratch("odoo")?;
        let owner = postgres.odoo_role().await?;
        let database = postgres.create_database("odoo", Some(base.database.name()), &owner.role).await?;
        let stores = folder.path().join("data/filestore");
        fs::create_dir_all(&stores)?;
        base::copy_files(&base.filestore, &stores.join(database.name()), folder.path()).await?;
        // Odoo looks there by itself, whatever other addons path it is given.
        addons::copy(addons_folder(), &folder.path().join("data/addons").join(odoo.series()), odoo.series())?;
        let token_key = fernet_key();
        let conf = write_config(folder.path(), &owner, database.name())?;
        Ok(Self { odoo: Arc::clone(odoo), database, conf, token_key, demo: base.demo(), folder })
    }

    pub(super) fn into_parts(self) -> (Database, TempDir) {
        (self.database, self.folder)
    }

    /// The database, with the rights of the server's superuser.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// As [`Self::database`], to make roles in.
    pub fn database_mut(&mut self) -> &mut Database {
        &mut self.database
    }

    /// `18.0`, `19.0`.
    pub fn series(&self) -> &str {
        self.odoo.series()
    }

    /// The key that seals the access tokens while the site is served, as the worker wants it.
    pub fn token_key(&self) -> &str {
        &self.token_key
    }

    /// Installs addons.
    pub async fn install(&self, names: &[String]) -> Result<()> {
        progress::say(format!("Odoo {}: installing {}", self.odoo.series(), names.join(", ")));
        let log = self.folder.path().join("install.log");
        let mut command = self.command();
        command.args(["-i", &names.join(","), "--stop-after-init", "--no-http"]);
        process::run("Odoo's installation of the addons", command, &log, INSTALL_WITHIN).await
    }

    /// Updates addons that are installed, as one does after fetching a new release.
    pub async fn update(&self, names: &[&str]) -> Result<()> {
        progress::say(format!("Odoo {}: updating {}", self.odoo.series(), names.join(", ")));
        let log = self.folder.path().join("update.log");
        let mut command = self.command();
        command.args(["-u", &names.join(","), "--stop-after-init", "--no-http"]);
        process::run("Odoo's update of the addons", command, &log, INSTALL_WITHIN).await
    }

    /// Makes the database harmless, as one does with a copy of production.
    pub async fn neutralize(&self) -> Result<()> {
        self.subcommand("neutralize", self.token_key()).await
    }

    /// Seals the access tokens again with the first of `keys`, which are parted by commas.
    pub async fn rotate_token_key(&self, keys: &str) -> Result<()> {
        self.subcommand("matrix_rotate_key", keys).await
    }

    async fn subcommand(&self, name: &str, token_keys: &str) -> Result<()> {
        let mut command = self.odoo.command();
        // Odoo finds a subcommand of an addon before it reads its options.
        command.env("ODOO_RC", &self.conf).arg(name).arg("-c").arg(&self.conf);
        command.env("ODOO_MATRIX_TOKEN_KEY", token_keys);
        let log = self.folder.path().join(format!("{name}.log"));
        process::run(&format!("odoo-bin {name}"), command, &log, INSTALL_WITHIN).await
    }

    /// Installs addons and runs their tests, those in the browser too.
    pub async fn test(&self, names: &[String]) -> Result<Report> {
        progress::say(format!("Odoo {}: testing {}", self.odoo.series(), names.join(", ")));
        let log = self.folder.path().join("test.log");
        let tags: Vec<_> = names.iter().map(|name| format!("/{name}")).collect();
        let beside = if names.iter().any(|name| name == USES_RULES) { RULES } else { "" };
        let mut command = self.command();
        command.args(["-i", &(names.join(",") + beside), "--test-tags", &tags.join(","), "--stop-after-init"]);
        let status = Process::spawn("Odoo's tests", command, &log)?.wait(TEST_WITHIN).await?;
        let report = tests::read(&log)?;
        ensure!(
            status.success() || report.failed > 0,
            "Odoo ended ({status}) though no test failed\n{}",
            process::tail(&log)
        );
        Ok(report)
    }

    /// Starts the server on a free port and waits until it answers.
    pub async fn serve(&self) -> Result<Server> {
        self.serve_at(free_port()?).await
    }

    /// Starts the server at the address that it had before.
    pub async fn serve_again(&self, before: &Server) -> Result<Server> {
        let port = before.url.rsplit(':').next().context("an address has a port")?;
        self.serve_at(port.parse()?).await
    }

    async fn serve_at(&self, port: u16) -> Result<Server> {
        let url = format!("http://127.0.0.1:{port}");
        let mut command = self.command();
        command.args(["--http-port", &port.to_string()]).env("ODOO_MATRIX_TOKEN_KEY", &self.token_key);
        let process = Process::spawn("Odoo", command, &self.folder.path().join("odoo.log"))?;
        let http = crate::http_client()?;
        let answers = || async {
            let answer = http.get(format!("{url}/web/health")).send().await.ok()?;
            answer.status().is_success().then_some(())
        };
        process.until("answered", READY_WITHIN, answers).await?;
        progress::say(format!("Odoo {}: answers at {url}", self.odoo.series()));
        Ok(Server { process, url, database: self.database.name().to_owned() })
    }

    fn command(&self) -> std::process::Command {
        let mut command = self.odoo.command();
        command.arg("-c").arg(&self.conf).args(self.odoo.demo_switch(self.demo));
        command
    }
}

impl Server {
    /// The base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The running program, to stop and to look at.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Logs a user in for calls of Odoo's external API.
    pub async fn login(&self, user: &str, password: &str) -> Result<Client> {
        Client::login(&self.url, &self.database, user, password).await
    }
}

/// Writes `odoo.conf` into `folder`, whose sub-folder `data` becomes Odoo's data folder; gives back its path.
pub(super) fn write_config(folder: &Path, owner: &postgres::Server, database: &str) -> Result<PathBuf> {
    let path = folder.join("odoo.conf");
    let text = format!(
        "[options]\n\
         db_host = {}\ndb_port = {}\ndb_user = {}\ndb_password = {}\ndb_name = {database}\ndbfilter = ^{database}$\n\
         list_db = False\ndata_dir = {}\nhttp_interface = 127.0.0.1\nhttp_port = {}\n\
         workers = 0\nmax_cron_threads = 0\nlimit_time_real = 3600\nlimit_time_cpu = 3600\n",
        owner.host,
        owner.port,
        owner.role,
        owner.password,
        folder.join("data").display(),
        free_port()?,
    );
    fs::write(&path, text)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(path)
}

/// Thirty-two random bytes in URL-safe base64, as Fernet wants its key.
pub fn fernet_key() -> String {
    // The 43rd character carries four bits only, so it must be one of sixteen; `A` is none.
    let mut key: String = std::iter::repeat_with(fastrand::alphanumeric).take(42).collect();
    key.push_str("A=");
    key
}
