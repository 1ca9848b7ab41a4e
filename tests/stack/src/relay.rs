//! A relay in front of an HTTP server that loses answers: the server has done what was asked, and whoever asked never hears of it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A running relay. Dropping it ends all its connections.
pub struct Relay {
    port: u16,
    losses: Losses,
    _serving: JoinSet<()>,
}

/// What the lines of those requests contain whose answers are lost, each once.
type Losses = Arc<Mutex<VecDeque<String>>>;

impl Relay {
    /// In front of what listens at `url`, as `http://127.0.0.1:8008`.
    pub async fn start(url: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (losses, server) = (Losses::default(), url.trim_start_matches("http://").trim_end_matches('/').to_owned());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, server, losses.clone()));
        Ok(Self { port, losses, _serving: serving })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The answer to the next request with `part` in its first line is lost.
    pub fn lose(&self, part: &str) {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).push_back(part.to_owned());
    }

    /// How many answers are still to be lost.
    pub fn left(&self) -> usize {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

async fn serve(listener: TcpListener, server: String, losses: Losses) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (server, losses) = (server.clone(), losses.clone());
        connections.spawn(async move {
            // Whichever side goes away ends the connection, nothing else.
            let _ = pass(client, &server, &losses).await;
        });
    }
}

/// One connection, on which one request follows the other.
async fn pass(client: TcpStream, server: &str, losses: &Losses) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_lost = AtomicBool::new(false);
    let up = async {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = from_client.read(&mut bytes).await?;
            if read == 0 {
                return Ok::<_, std::io::Error>(());
            }
            // A request begins where the client writes again after an answer.
            let line = bytes[..read].split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line).into_owned();
            if takes(losses, &line) {
                is_lost.store(true, Ordering::Release);
            }
            to_server.write_all(&bytes[..read]).await?;
        }
    };
    let down = async {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = from_server.read(&mut bytes).await?;
            if read == 0 || is_lost.load(Ordering::Acquire) {
                return Ok::<_, std::io::Error>(());
            }
            to_client.write_all(&bytes[..read]).await?;
        }
    };
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}

/// Whether the answer to the request with this line is to be lost; no other one then is for that.
fn takes(losses: &Losses, line: &str) -> bool {
    let mut losses = losses.lock().unwrap_or_else(PoisonError::into_inner);
    let at = losses.iter().position(|part| line.contains(part.as_str()));
    at.and_then(|at| losses.remove(at)).is_some()
}
