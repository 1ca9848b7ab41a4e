//! A homeserver on the loopback interface that takes every message, cheaply, and sees whether rooms stay in order.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// Serves until it is dropped.
pub(crate) struct Double {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
    _serving: JoinSet<()>,
}

/// What has come since the last [`Double::begin`].
#[derive(Default)]
pub(crate) struct Seen {
    /// Each answer takes so long.
    pub(crate) delay: Duration,
    /// Tokens per second and the burst, if the account is limited.
    pub(crate) limit: Option<(f64, f64)>,
    used: f64,
    used_at: Option<Instant>,
    /// When each message was taken, by its number.
    pub(crate) arrivals: HashMap<u64, Instant>,
    pub(crate) first: Option<Instant>,
    pub(crate) last: Option<Instant>,
    pub(crate) repeated: u64,
    pub(crate) out_of_order: u64,
    pub(crate) refused: u64,
    taken: HashSet<u64>,
    /// The newest message of each room.
    newest: HashMap<String, u64>,
}

impl Double {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let seen = Arc::<Mutex<Seen>>::default();
        let mut serving = JoinSet::new();
        serving.spawn({
            let seen = seen.clone();
            async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    while connections.try_join_next().is_some() {}
                    let seen = seen.clone();
                    connections.spawn(async move {
                        // A worker that ends closes its connections.
                        let _ = serve(stream, &seen).await;
                    });
                }
            }
        });
        Ok(Self { url, seen, _serving: serving })
    }

    pub(crate) fn begin(&self, delay: Duration, limit: Option<(f64, f64)>) {
        *self.seen() = Seen { delay, limit, ..Seen::default() };
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// How many different messages were taken.
    pub(crate) fn count(&self) -> usize {
        self.seen().taken.len()
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut stream: TcpStream, seen: &Mutex<Seen>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::with_capacity(4096);
    loop {
        let (path, length) = loop {
            if let Some(head) = head(&bytes) {
                break head;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        while bytes.len() < length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        bytes.drain(..length);
        let delay = lock(seen).delay;
        let answer = answer(&path, seen);
        if !delay.is_zero() {
            sleep(delay).await;
        }
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The path of a request and its length with the body, once its head is there.
fn head(bytes: &[u8]) -> Option<(String, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = request.parse(bytes) else { return None };
    let path = request.path?.to_owned();
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0);
    Some((path, head + body))
}

fn answer(path: &str, seen: &Mutex<Seen>) -> String {
    if let Some((room, txn)) = path.split_once("/rooms/").and_then(|(_, rest)| rest.split_once("/send/")) {
        return match txn.rsplit_once('-').and_then(|(_, number)| number.parse().ok()) {
            Some(number) => lock(seen).take(room, number),
            None => http(200, r#"{"event_id":"$bare"}"#),
        };
    }
    if path.ends_with("/whoami") {
        return http(200, r#"{"user_id":"@bench:bench.invalid","device_id":"BENCH"}"#);
    }
    // No room has any state, so none is encrypted or replaced.
    http(404, r#"{"errcode":"M_NOT_FOUND","error":"Not found"}"#)
}

fn http(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

impl Seen {
    fn take(&mut self, room: &str, number: u64) -> String {
        let now = Instant::now();
        self.first.get_or_insert(now);
        if let Some((rate, burst)) = self.limit {
            let since = self.used_at.replace(now).map_or(0.0, |at| now.duration_since(at).as_secs_f64());
            self.used = (self.used - since * rate).max(0.0);
            if self.used + 1.0 > burst {
                self.refused += 1;
                let pause = ((self.used + 1.0 - burst) / rate * 1000.0).ceil();
                return http(
                    429,
                    &format!(r#"{{"errcode":"M_LIMIT_EXCEEDED","error":"Too fast","retry_after_ms":{pause}}}"#),
                );
            }
            self.used += 1.0;
        }
        self.last = Some(now);
        if !self.taken.insert(number) {
            self.repeated += 1;
        }
        self.arrivals.insert(number, now);
        match self.newest.get_mut(room) {
            Some(newest) => {
                self.out_of_order += u64::from(*newest > number);
                *newest = number.max(*newest);
            }
            None => {
                self.newest.insert(room.to_owned(), number);
            }
        }
        http(200, &format!(r#"{{"event_id":"${number}"}}"#))
    }
}
