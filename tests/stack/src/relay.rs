//! A relay in front of an HTTP server. It loses answers: the server has done what was asked, and whoever asked never hears of it. Or it
//! alters requests, so that the server refuses them, or understands something else. Or it answers itself, at once.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

/// A running relay. Dropping it ends all its connections.
pub struct Relay {
    port: u16,
    faults: Arc<Mutex<Faults>>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Faults {
    /// What the lines of those requests contain whose answers are lost, each once.
    losses: VecDeque<String>,
    alteration: Option<Alteration>,
    /// The server never sees the requests whose lines contain the first; their answer is the second.
    own_answer: Option<(String, String)>,
}

/// In the requests whose lines contain `part`, `from` becomes `to`.
struct Alteration {
    part: String,
    from: String,
    to: String,
}

impl Relay {
    /// In front of what listens at `url`, as `http://127.0.0.1:8008`.
    pub async fn start(url: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let server = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let faults = Arc::<Mutex<Faults>>::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, server, faults.clone()));
        Ok(Self { port, faults, _serving: serving })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The answer to the next request with `part` in its first line is lost.
    pub fn lose(&self, part: &str) {
        lock(&self.faults).losses.push_back(part.to_owned());
    }

    /// How many answers are still to be lost.
    pub fn left(&self) -> usize {
        lock(&self.faults).losses.len()
    }

    /// From now on, requests with `part` in their first line arrive with `from` replaced by `to`, which is as long.
    pub fn alter(&self, part: &str, from: &str, to: &str) {
        assert_eq!(from.len(), to.len(), "the length of the request must stay the same");
        let [part, from, to] = [part, from, to].map(str::to_owned);
        lock(&self.faults).alteration = Some(Alteration { part, from, to });
    }

    /// From now on, requests with `part` in their first line do not reach the server: the relay answers 200 with this `body`.
    pub fn answer(&self, part: &str, body: &str) {
        self.answer_with("200 OK", part, body);
    }

    /// The same with another status.
    pub fn answer_with(&self, status: &str, part: &str, body: &str) {
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        lock(&self.faults).own_answer = Some((part.to_owned(), answer));
    }

    /// From now on, requests arrive as they were sent.
    pub fn heal(&self) {
        let mut faults = lock(&self.faults);
        (faults.alteration, faults.own_answer) = (None, None);
    }
}

fn lock(faults: &Mutex<Faults>) -> MutexGuard<'_, Faults> {
    faults.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, server: String, faults: Arc<Mutex<Faults>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (server, faults) = (server.clone(), faults.clone());
        connections.spawn(async move {
            // Whichever side goes away ends the connection, nothing else.
            let _ = pass(client, &server, &faults).await;
        });
    }
}

/// One connection, on which one request follows the other.
async fn pass(client: TcpStream, server: &str, faults: &Mutex<Faults>) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_lost = AtomicBool::new(false);
    let (own, mut own_answers) = mpsc::channel(1);
    let up = async {
        let mut bytes = vec![0; 64 << 10];
        let mut request = String::new();
        loop {
            let read = from_client.read(&mut bytes).await?;
            if read == 0 {
                return Ok::<_, std::io::Error>(());
            }
            let line = bytes[..read].split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            // Its body may come after it.
            if line.ends_with(" HTTP/1.1") {
                request = line.into_owned();
                if lock(faults).takes(&request) {
                    is_lost.store(true, Ordering::Release);
                }
            }
            let own_answer = lock(faults).own_answer(&request);
            if let Some(answer) = own_answer {
                let mut left = length(&bytes[..read]).saturating_sub(read);
                while left > 0 {
                    let more = from_client.read(&mut bytes).await?;
                    if more == 0 {
                        return Ok(());
                    }
                    left = left.saturating_sub(more);
                }
                let _ = own.send(answer).await;
                continue;
            }
            lock(faults).alter(&request, &mut bytes[..read]);
            to_server.write_all(&bytes[..read]).await?;
        }
    };
    let down = async {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = tokio::select! {
                read = from_server.read(&mut bytes) => read?,
                Some(answer) = own_answers.recv() => {
                    to_client.write_all(String::as_bytes(&answer)).await?;
                    continue;
                }
            };
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

/// How long a request is whose head is there, with its body.
fn length(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return bytes.len() };
    let body = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    head.len() + 4 + body.unwrap_or(0)
}

impl Faults {
    fn own_answer(&self, line: &str) -> Option<String> {
        let (part, answer) = self.own_answer.as_ref()?;
        line.contains(part.as_str()).then(|| answer.clone())
    }

    /// Whether the answer to the request with this line is to be lost; no other one then is for that.
    fn takes(&mut self, line: &str) -> bool {
        let at = self.losses.iter().position(|part| line.contains(part.as_str()));
        at.and_then(|at| self.losses.remove(at)).is_some()
    }

    fn alter(&self, line: &str, bytes: &mut [u8]) {
        let Some(Alteration { from, to, .. }) = self.alteration.as_ref().filter(|it| line.contains(&it.part)) else {
            return;
        };
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from.as_bytes()) {
            let begin = at + found;
            at = begin + from.len();
            bytes[begin..at].copy_from_slice(to.as_bytes());
        }
    }
}
