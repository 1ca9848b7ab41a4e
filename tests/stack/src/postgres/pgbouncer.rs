//! PgBouncer before a server, in a folder of its own. It refuses to run as root.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{Server, cluster};
use crate::process::Process;
use crate::{debian, free_port, scratch};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running pooler. Dropping it ends it.
#[derive(Debug)]
pub struct PgBouncer {
    _process: Process,
    server: Server,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts it for one role of one server. `mode` as in `pool_mode`.
    pub async fn start(server: &Server, mode: &str) -> Result<Self> {
        // Tests that run side by side would get in each other's way.
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        INSTALLED
            .get_or_try_init(async || match program() {
                Some(_) => Ok(()),
                None => debian::install(&["pgbouncer"]).await,
            })
            .await?;
        let program = program().context("the package pgbouncer has no /usr/sbin/pgbouncer")?;
        let folder = scratch("pgbouncer")?;
        cluster::own(folder.path())?;
        let pooled = Server { host: "127.0.0.1".to_owned(), port: free_port()?, ..server.clone() };
        let users = folder.path().join("users");
        std::fs::write(&users, format!("\"{}\" \"{}\"\n", server.role, server.password))?;
        let conf = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = plain\nauth_file = {}\npool_mode = {mode}\n",
            server.host,
            server.port,
            pooled.port,
            users.display(),
        );
        std::fs::write(&conf, text)?;
        for file in [&users, &conf] {
            cluster::own(file)?;
        }
        let mut command = cluster::unprivileged(&program, folder.path());
        command.arg(&conf);
        let process = Process::spawn("PgBouncer", command, &folder.path().join("pgbouncer.log"))?;
        let listens = || async { tokio::net::TcpStream::connect(("127.0.0.1", pooled.port)).await.ok().map(drop) };
        process.until("took connections", READY_WITHIN, listens).await?;
        Ok(Self { _process: process, server: pooled, _folder: folder })
    }

    /// The pooler as a server, for the role that it knows.
    pub fn server(&self) -> &Server {
        &self.server
    }
}

/// Where Debian's package puts it.
pub fn program() -> Option<PathBuf> {
    Some(Path::new("/usr/sbin/pgbouncer").to_owned()).filter(|path| path.exists())
}
