//! The set-up for the steps: a container, the package in two versions, and a database with a homeserver on this machine.

use std::{
    io::Write as _,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fernet::Fernet;
use stack::{
    free_port,
    homeserver::TOKEN,
    machine::Machine,
    package::{self, Package},
    postgres::{Options, Postgres, tool},
    world::World,
};

/// The name of the service that delivers for the first database.
pub(crate) const UNIT: &str = "odoo-matrix-worker@odoo";

/// The worker's role, on a separate server.
const ROLE: &str = "odoo-matrix";
const PASSWORD: &str = "a password & more";

pub(crate) struct Office {
    pub(crate) machine: Machine,
    pub(crate) world: World,
    pub(crate) postgres: Postgres,
    /// The current package, and the same as its previous version.
    pub(crate) package: PathBuf,
    pub(crate) previous: PathBuf,
    pub(crate) port: u16,
    /// All messages that were queued.
    pub(crate) ids: Vec<i64>,
    pub(crate) figures: Vec<String>,
    /// The files of the fresh system.
    pub(crate) files_before: String,
    /// The release build.
    pub(crate) binary: String,
    key: String,
}

impl Office {
    pub(crate) async fn open() -> Result<Self> {
        let built = Package::build().await?;
        let version = built.version()?;
        let package = built.write(&version, &package::folder()).await?;
        let previous = built.write(&format!("{version}~previous"), &package::folder()).await?;
        let postgres = Postgres::cluster(Options::default()).await?;
        let binary = built.binary().to_str().context("a path in Unicode")?.to_owned();
        let world = World::on(&postgres, &binary).await;
        let key = Fernet::generate_key();
        let sealed = format!("fernet:{}", Fernet::new(&key).context("a key")?.encrypt(TOKEN.as_bytes()));
        world.client.execute("UPDATE matrix_backend SET token_sealed = $1", &[&sealed]).await?;
        let machine = Machine::boot().await?;
        for file in [&package, &previous] {
            let name = file.file_name().context("a package has a name")?;
            std::fs::copy(file, machine.path("/root").join(name))?;
        }
        Ok(Self {
            machine,
            world,
            postgres,
            package,
            previous,
            port: free_port()?,
            ids: Vec::new(),
            figures: Vec::new(),
            files_before: String::new(),
            binary,
            key,
        })
    }

    /// Installs one of the packages.
    pub(crate) async fn install(&self, package: &std::path::Path) -> Result<String> {
        let name = package.file_name().context("a package has a name")?.to_string_lossy().into_owned();
        self.machine.run(&format!("dpkg -i /root/'{name}' 2>&1")).await
    }

    /// The three commands of the README, for a database on another host: so the role gets a password.
    pub(crate) async fn set_up(&self, instance: &str, world: &World, port: u16) -> Result<()> {
        let grants = self.machine.run("odoo-matrix-worker grants --create-role").await?;
        let mut psql = tool("psql");
        psql.args(["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", &world.database.url()]);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let set_password = format!("{grants}ALTER ROLE \"{ROLE}\" PASSWORD '{PASSWORD}';");
        psql.stdin.take().context("standard input was asked for")?.write_all(set_password.as_bytes())?;
        ensure!(psql.wait()?.success(), "psql refuses the grants");

        let url = world.database.server().with_role(ROLE, PASSWORD).url(world.database.name());
        std::fs::write(self.machine.path("/root/odoo.conf"), format!("[options]\nmatrix_token_key = {}\n", self.key))?;
        let options = "--database-url-from - --token-key-from /root/odoo.conf";
        self.machine.run(&format!("printf %s '{url}' | odoo-matrix-worker configure {instance} {options}")).await?;
        self.set(instance, &format!("METRICS_LISTEN=127.0.0.1:{port}")).await
    }

    /// Appends a line to the settings of an instance.
    pub(crate) async fn set(&self, instance: &str, line: &str) -> Result<()> {
        self.machine.run(&format!("echo '{line}' >> /etc/odoo-matrix/{instance}/worker.env")).await.map(drop)
    }

    /// Queues messages in `rooms` rooms.
    pub(crate) async fn enqueue(&mut self, rooms: usize, body: &str, count: i32) {
        let rooms: Vec<_> = (0..rooms).map(|n| format!("!{n}:double.test")).collect();
        let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
        self.ids.extend(self.world.enqueue_many(&rooms, body, count).await);
    }

    /// No message is lost, sent twice or held.
    pub(crate) async fn settled(&self) {
        self.world.assert_settled(&self.ids).await;
    }

    /// Starts the service, which must exit with this code after one try and give the reason in its journal.
    pub(crate) async fn fails_once(&self, code: &str, reason: &str) -> Result<()> {
        self.machine.try_run(&format!("systemctl reset-failed {UNIT}; systemctl restart {UNIT}")).await?;
        self.machine.until(&format!("systemctl is-failed --quiet {UNIT}"), Duration::from_secs(20)).await?;
        let (ended, restarts) = (self.property("ExecMainStatus").await?, self.property("NRestarts").await?);
        ensure!(ended == code && restarts == "0", "it ended with {ended} and was restarted {restarts} times");
        let said = self.machine.run(&format!("journalctl -u {UNIT} -n 6 -o cat --no-pager")).await?;
        ensure!(said.contains(reason), "the journal does not say «{reason}»: {said}");
        Ok(())
    }

    /// One property of the service, as systemd reports it.
    pub(crate) async fn property(&self, name: &str) -> Result<String> {
        let said = self.machine.run(&format!("systemctl show -P {name} {UNIT}")).await?;
        Ok(said.trim().to_owned())
    }

    /// Sends a message after something has happened and waits for its arrival; returns how long after `since` that was.
    pub(crate) async fn arrives(&mut self, since: Instant) -> Duration {
        self.enqueue(1, "are you there", 1).await;
        self.world.homeserver.until_events(self.ids.len()).await;
        let took = since.elapsed();
        self.settled().await;
        took
    }

    pub(crate) fn measured(&mut self, what: &str, took: Duration) {
        self.figures.push(format!("{what}: {:.1} s", took.as_secs_f64()));
    }

    /// The journal of the service.
    pub(crate) async fn journal(&self) -> String {
        let line =
            "journalctl -u 'odoo-matrix-worker@*' -n 60 --no-pager; systemctl status 'odoo-matrix-worker@*' --no-pager";
        match self.machine.try_run(line).await {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => format!("{error:#}"),
        }
    }
}
