//! A PostgreSQL server and, in it, a database of its own for each test.
//!
//! `TEST_DATABASE_URL` names a server that is there already (a superuser, or a role that may create databases and roles).
//! Else a throw-away cluster is started from the installed binaries, else a container where this was built with the feature
//! `containers`. What we start is gone when the value is dropped, at the latest when the process is.

mod cluster;
#[cfg(feature = "containers")]
mod container;
pub mod pgbouncer;
mod server;

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use cluster::Cluster;
pub use cluster::own as give_to_server;
pub use server::Server;

/// How a cluster of one's own differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keep what was committed through a crash of the machine (fsync), as a production server does. Slower.
    pub durable: bool,
    /// Further settings, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
}

/// How the server ends, in PostgreSQL's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Open transactions are rolled back, sessions get an error (57P01).
    Fast,
    /// As a crash: sessions get an error (57P02), the next start recovers from the log.
    Immediate,
}

/// A server on which databases can be made.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    home: Home,
    odoo_role: OnceCell<Server>,
}

impl From<(Server, Home)> for Postgres {
    fn from((server, home): (Server, Home)) -> Self {
        Self { server, home, odoo_role: OnceCell::new() }
    }
}

#[derive(Debug)]
enum Home {
    Given,
    Cluster(Box<Cluster>),
    #[cfg(feature = "containers")]
    Container(#[expect(dead_code, reason = "held: the container ends with it")] Box<container::Container>),
}

/// A database that one test has to itself.
#[derive(Debug)]
pub struct Database {
    server: Server,
    name: String,
    roles: Vec<String>,
    dropped_with_server: bool,
}

/// The server of this test process, started at the first call.
///
/// # Panics
/// When no server can be had; the message says what to install.
pub async fn shared() -> &'static Postgres {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    let started = SHARED.get_or_try_init(|| Postgres::start(Options::default())).await;
    started.unwrap_or_else(|error| panic!("{error:#}"))
}

impl Postgres {
    /// Takes the server of `TEST_DATABASE_URL`, else starts one.
    pub async fn start(options: Options) -> Result<Self> {
        if let Ok(url) = env::var("TEST_DATABASE_URL") {
            let server = Server::parse(&url).context("TEST_DATABASE_URL cannot be used")?;
            server.connect("postgres").await.context("no server answers at TEST_DATABASE_URL")?;
            return Ok((server, Home::Given).into());
        }
        if cluster::binaries().is_some() {
            return Self::cluster(options).await;
        }
        Self::container().await.context(
            "no PostgreSQL: install its server (on Debian the package postgresql), or start Docker and build with \
             CONTAINERS=1, or set TEST_DATABASE_URL to a server whose role may create databases and roles",
        )
    }

    #[cfg(feature = "containers")]
    async fn container() -> Result<Self> {
        let container = container::Container::start().await?;
        Ok((container.server().clone(), Home::Container(Box::new(container))).into())
    }

    #[cfg(not(feature = "containers"))]
    async fn container() -> Result<Self> {
        bail!("this was built without containers")
    }

    /// Starts a cluster of the installed binaries, whatever `TEST_DATABASE_URL` says: a test of faults stops it.
    pub async fn cluster(options: Options) -> Result<Self> {
        let cluster = Cluster::start(options).await?;
        Ok((cluster.server().clone(), Home::Cluster(Box::new(cluster))).into())
    }

    /// Makes an empty database. The name in the server is `name` and a number that makes it unique.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn database(&self, name: &str) -> Database {
        let made = self.create_database(name, None, &self.server.role).await;
        made.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// As [`Self::database`], with the collation of a language by ICU, which sorts otherwise than by bytes.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn icu_database(&self, name: &str) -> Database {
        let clause = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'";
        let made = self.make_database(name, clause, &self.server.role).await;
        made.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Makes a database of the role `owner`, empty or a copy of the database `template`, to which nobody may be connected
    /// meanwhile.
    pub async fn create_database(&self, name: &str, template: Option<&str>, owner: &str) -> Result<Database> {
        let template = template.unwrap_or("template0");
        self.make_database(name, &format!("TEMPLATE \"{template}\""), owner).await
    }

    async fn make_database(&self, name: &str, clause: &str, owner: &str) -> Result<Database> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}_{}_{number}", std::process::id());
        let client = self.server.connect("postgres").await?;
        let create = format!("CREATE DATABASE \"{name}\" {clause} OWNER \"{owner}\" ENCODING 'UTF8'");
        client.batch_execute(&create).await.with_context(|| format!("cannot make the database {name}"))?;
        let dropped_with_server = !matches!(self.home, Home::Given);
        Ok(Database { server: self.server.clone(), name, roles: Vec::new(), dropped_with_server })
    }

    /// Whether the server and all that is on it is gone at the latest when this process is.
    pub(crate) fn ends_with_us(&self) -> bool {
        !matches!(self.home, Home::Given)
    }

    /// Who Odoo is on this server: a role that may create databases and is not a superuser, as in production. On the server of
    /// `TEST_DATABASE_URL` it is the role of the URL.
    pub async fn odoo_role(&self) -> Result<Server> {
        if matches!(self.home, Home::Given) {
            ensure!(
                self.server.role != "postgres",
                "TEST_DATABASE_URL names the role postgres, which Odoo refuses: name another that may create databases"
            );
            return Ok(self.server.clone());
        }
        let make = async || {
            let server = self.server.with_role("odoo", &password());
            let create = format!("CREATE ROLE odoo LOGIN CREATEDB PASSWORD '{}'", server.password);
            self.server.connect("postgres").await?.batch_execute(&create).await?;
            anyhow::Ok(server)
        };
        self.odoo_role.get_or_try_init(make).await.cloned()
    }

    /// Where the server listens and who we are there.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Ends the server; sessions see it at once. Only a cluster that we started can be ended.
    pub async fn stop(&self, how: Shutdown) -> Result<()> {
        self.own()?.stop(how).await
    }

    /// Starts the stopped cluster again, at the same port, with the same data.
    pub async fn start_again(&self) -> Result<()> {
        self.own()?.launch().await
    }

    /// Stops the cluster and starts it again.
    pub async fn restart(&self, how: Shutdown) -> Result<()> {
        self.stop(how).await?;
        self.start_again().await
    }

    /// Starts a second server that follows this one: read-only until `pg_promote()` makes it a primary.
    pub async fn standby(&self) -> Result<Self> {
        let standby = self.own()?.standby().await?;
        Ok((standby.server().clone(), Home::Cluster(Box::new(standby))).into())
    }

    /// Restarts this server as one that is read-only, as a primary that was demoted.
    pub async fn demote(&self) -> Result<()> {
        self.own()?.demote().await
    }

    fn own(&self) -> Result<&Cluster> {
        match &self.home {
            Home::Cluster(cluster) => Ok(cluster),
            _ => bail!("this server is not ours to stop: use Postgres::cluster"),
        }
    }
}

impl Database {
    /// The name inside the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A libpq URL with the rights of the server's superuser.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Makes a role that may log in and nothing else. Its name begins with `name`; it goes when the database does.
    pub async fn create_role(&mut self, name: &str) -> Result<Server> {
        let server = self.server.with_role(&format!("{name}_of_{}", self.name), &password());
        let create = format!("CREATE ROLE \"{}\" LOGIN PASSWORD '{}'", server.role, server.password);
        self.connect().await?.batch_execute(&create).await?;
        self.roles.push(server.role.clone());
        Ok(server)
    }

    /// The server it is in, and who we are there.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// A connection with the rights of the server's superuser.
    pub async fn connect(&self) -> Result<Client> {
        self.server.connect(&self.name).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.dropped_with_server {
            return;
        }
        let (server, name, roles) = (self.server.clone(), self.name.clone(), self.roles.clone());
        // A test's runtime may be the one that drops us, and it must not wait inside itself.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = server.connect("postgres").await?;
                client.batch_execute(&format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")).await?;
                for role in roles {
                    client.batch_execute(&format!("DROP ROLE IF EXISTS \"{role}\"")).await?;
                }
                anyhow::Ok(())
            })
        });
        if let Ok(Err(error)) = crate::blocking(|| dropping.join()) {
            eprintln!("the database {} stays: {error:#}", self.name);
        }
    }
}

/// A command of PostgreSQL (`psql`, `pg_dump`, …) from the same place as the server that would be started.
pub fn tool(name: &str) -> Command {
    let installed = cluster::binaries().map(|folder| folder.join(name)).filter(|path| path.exists());
    Command::new(installed.unwrap_or_else(|| PathBuf::from(name)))
}

/// The folder of the installed server binaries, if there are any.
pub fn binaries() -> Option<PathBuf> {
    cluster::binaries()
}

pub(crate) async fn connect(config: &tokio_postgres::Config) -> Result<Client> {
    let (client, connection) = config.connect(NoTls).await?;
    // Ends with the client; what goes wrong on the connection reaches the client's calls.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

fn password() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(24).collect()
}
