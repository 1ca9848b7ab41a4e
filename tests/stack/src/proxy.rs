//! Sits between a program and PostgreSQL and does harm: refuses statements, loses answers, falls silent.
//!
//! It reads the wire protocol as far as it must: where a message ends, and which statement it runs.

mod wire;

use std::{
    collections::HashMap,
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use crate::postgres::Server;
use wire::{Request, Requests};

/// What happens to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It is not run; the answer is this SQLSTATE. Those by which a server ends a session end it here too.
    Refuse(&'static str),
    /// The connection ends before the server has it.
    LoseStatement,
    /// The server runs and commits it; its answer is lost with the connection.
    LoseAnswer,
}

/// Names a new connection, for [`Proxy::spoil`].
pub const CONNECT: &str = "(connect)";

/// Which connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that have said LISTEN.
    Listeners,
    Others,
}

/// A running proxy. Dropping it ends all its connections.
pub struct Proxy {
    address: SocketAddr,
    server: Server,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    accepted: AtomicUsize,
    /// 0: as fast as can be.
    bytes_per_second: AtomicUsize,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    /// How often each statement was asked for, by its text.
    asked: HashMap<String, usize>,
    harmed: usize,
    connections: Vec<Handle>,
}

struct Rule {
    part: String,
    skip: usize,
    times: usize,
    harm: Harm,
}

struct Handle {
    listens: Arc<std::sync::atomic::AtomicBool>,
    is_silent: watch::Sender<bool>,
}

impl Proxy {
    /// Listens on a free port of the loopback interface, in front of `server`.
    pub async fn start(server: &Server) -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, server).await
    }

    /// Listens on a free port of another address of this machine.
    pub async fn start_at(address: Ipv4Addr, server: &Server) -> Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, (server.host.clone(), server.port), shared.clone()));
        Ok(Self { address, server: server.clone(), shared, _serving: serving })
    }

    /// The URL that leads to the same database through the proxy.
    pub fn url(&self, direct: &str) -> String {
        direct.replace(&format!("@{}:{}/", self.server.host, self.server.port), &format!("@{}/", self.address))
    }

    /// The statements whose text has `part` in it meet `harm`: after `skip` that do not, the next `times`.
    pub fn spoil(&self, part: &str, skip: usize, times: usize, harm: Harm) {
        self.shared.state().rules.push(Rule { part: part.to_owned(), skip, times, harm });
    }

    /// No more harm. Connections that have fallen silent stay so.
    pub fn heal(&self) {
        self.shared.state().rules.clear();
    }

    /// How many statements and connections have come to harm.
    pub fn harmed(&self) -> usize {
        self.shared.state().harmed
    }

    /// How often a statement with `part` in it was asked for.
    pub fn asked(&self, part: &str) -> usize {
        let state = self.shared.state();
        state.asked.iter().filter(|(text, _)| text.contains(part)).map(|(_, times)| times).sum()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Each connection carries no more than so much of the server's answers.
    pub fn slow_down(&self, bytes_per_second: usize) {
        self.shared.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Present connections stay open and carry nothing any more, as when the other machine has lost its power. New ones work.
    pub fn hush(&self, which: Which) {
        self.shared.state().connections.retain(|handle| {
            let listens = handle.listens.load(Ordering::Relaxed);
            let is_meant = match which {
                Which::Listeners => listens,
                Which::Others => !listens,
            };
            if is_meant {
                handle.is_silent.send_replace(true);
            }
            !handle.is_silent.is_closed()
        });
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn harm(&mut self, text: &str) -> Option<Harm> {
        *self.asked.entry(text.to_owned()).or_default() += 1;
        let rule = self.rules.iter_mut().find(|rule| text.contains(&rule.part) && (rule.skip > 0 || rule.times > 0))?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        self.harmed += 1;
        Some(rule.harm)
    }
}

async fn serve(listener: TcpListener, server: (String, u16), shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let (shared, server) = (shared.clone(), server.clone());
        connections.spawn(async move {
            // What ends one side ends the other; nobody else is concerned.
            let _ = Connection::carry(client, server, &shared).await;
        });
    }
}

struct Connection<'a> {
    client: TcpStream,
    server: TcpStream,
    requests: Requests,
    listens: Arc<std::sync::atomic::AtomicBool>,
    shared: &'a Shared,
    /// The answer to what was forwarded is to be lost.
    is_losing: bool,
    /// What the client sends up to the next Sync is not forwarded.
    refusing: Option<&'static str>,
    /// A refusal that waits for the answers to what was forwarded before it.
    refusal: Option<&'static str>,
    /// Steps that were forwarded and are not answered yet.
    unanswered: usize,
}

impl<'a> Connection<'a> {
    async fn carry(client: TcpStream, server: (String, u16), shared: &'a Shared) -> io::Result<()> {
        client.set_nodelay(true)?;
        let listens = Arc::default();
        let (is_silent, mut silence) = watch::channel(false);
        shared.state().connections.push(Handle { listens: Arc::clone(&listens), is_silent });
        let server = TcpStream::connect(server).await?;
        server.set_nodelay(true)?;
        let requests = Requests::default();
        let mut connection = Self {
            client,
            server,
            requests,
            listens,
            shared,
            is_losing: false,
            refusing: None,
            refusal: None,
            unanswered: 0,
        };
        let silenced = async { silence.wait_for(|silent| *silent).await.map(drop) };
        tokio::select! {
            ended = connection.run() => ended,
            _ = silenced => pending().await,
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        loop {
            if self.unanswered == 0
                && let Some(code) = self.refusal.take()
                && !self.refuse(code).await?
            {
                return Ok(());
            }
            while self.refusal.is_none()
                && let Some(request) = self.requests.next(&mut up)
            {
                if !self.pass(request).await? {
                    return Ok(());
                }
            }
            if self.unanswered == 0 && self.refusal.is_some() {
                continue;
            }
            // Waits for either side. A client whose refusal is due is not read from before it has it.
            let read = tokio::select! {
                read = self.client.read_buf(&mut up), if self.refusal.is_none() => read?,
                read = self.server.read_buf(&mut down) => {
                    let (whole, answered) = self.requests.answers(&mut down);
                    self.unanswered -= answered.min(self.unanswered);
                    if !self.is_losing {
                        let rate = self.shared.bytes_per_second.load(Ordering::Relaxed);
                        if rate > 0 {
                            // The line itself, not a wait for anything.
                            sleep(Duration::from_secs_f64(whole.len() as f64 / rate as f64)).await;
                        }
                        self.client.write_all(&whole).await?;
                    } else if self.unanswered == 0 {
                        return Ok(());
                    }
                    read?
                }
            };
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Passes a request on, or does harm; says whether the connection goes on.
    async fn pass(&mut self, request: Request) -> io::Result<bool> {
        if self.refusing.is_some() {
            if request.ends_a_step {
                self.refusal = self.refusing.take();
            }
            return Ok(true);
        }
        if let Some(text) = &request.runs {
            if text.starts_with("LISTEN") {
                self.listens.store(true, Ordering::Relaxed);
            }
            let harm = self.shared.state().harm(text);
            match harm {
                None => {}
                Some(Harm::LoseStatement) => return Ok(false),
                Some(Harm::LoseAnswer) => self.is_losing = true,
                Some(Harm::Refuse(code)) => {
                    let due = if request.ends_a_step { &mut self.refusal } else { &mut self.refusing };
                    *due = Some(code);
                    return Ok(true);
                }
            }
        }
        self.unanswered += usize::from(request.ends_a_step);
        self.server.write_all(&request.bytes).await?;
        Ok(true)
    }

    async fn refuse(&mut self, code: &str) -> io::Result<bool> {
        let ends = !self.requests.is_started() || code.starts_with("57P") || code.starts_with("08");
        self.client.write_all(&wire::refusal(code, ends)).await?;
        Ok(!ends)
    }
}
