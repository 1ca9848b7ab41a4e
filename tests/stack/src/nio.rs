//! A person's client on matrix-nio, whose encryption shares nothing with the worker's but the specification.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{scratch, synapse::User, venv::Venv};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../python/nio_client.py");
const WITHIN: Duration = Duration::from_secs(60);

/// A running client. It ends with the value.
pub struct Nio {
    folder: TempDir,
    says: Lines<BufReader<ChildStdout>>,
    orders: ChildStdin,
    _child: Child,
}

impl Nio {
    /// Installs matrix-nio, if that has not been done.
    pub async fn install() -> Result<Venv> {
        Venv::get("nio", include_str!("../../python/nio.txt")).await
    }

    /// Starts a client on the device of `user`, which has published its keys then.
    pub async fn start(homeserver: &str, user: &User) -> Result<Self> {
        let folder = scratch("nio")?;
        let mut command = Command::new(Self::install().await?.program("python"));
        command.arg(CLIENT).args([homeserver, user.id(), user.device_id(), user.token()]).arg(folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let says = BufReader::new(child.stdout.take().context("its output is read")?).lines();
        let orders = child.stdin.take().context("its input is written")?;
        let mut client = Self { folder, says, orders, _child: child };
        ensure!(client.next().await? == json!({"ready": true}), "it begins by saying that it is ready");
        Ok(client)
    }

    /// What it reads next.
    pub async fn next(&mut self) -> Result<Value> {
        let line =
            timeout(WITHIN, self.says.next_line()).await.context("matrix-nio has read nothing for a minute")??;
        Ok(serde_json::from_str(&line.context("matrix-nio has ended; its error is above")?)?)
    }

    /// The bytes of a file that it has read.
    pub fn file(&self, name: &str) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.folder.path().join(name))?)
    }

    pub async fn say(&mut self, room: &str, text: &str) -> Result<()> {
        self.order(&json!({"room": room, "text": text})).await
    }

    /// Sends a PDF.
    pub async fn send(&mut self, room: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.path().join("out");
        std::fs::create_dir_all(&path)?;
        let path = path.join(Path::new(name));
        std::fs::write(&path, bytes)?;
        self.order(&json!({"room": room, "file": path})).await
    }

    async fn order(&mut self, what: &Value) -> Result<()> {
        Ok(self.orders.write_all(format!("{what}\n").as_bytes()).await?)
    }
}
