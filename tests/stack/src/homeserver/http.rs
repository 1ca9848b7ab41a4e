//! The double's side of the wire: HTTP/1.1 by hand, because a fault may end a connection at any byte.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    Answer, BOT, Fault, Shared, direct, media,
    rooms::{self, Membership},
    service, stream,
};

/// A request line, its parts and its body.
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: Vec<String>,
    pub(super) query: String,
    pub(crate) authorization: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) body: Value,
    pub(crate) bytes: Vec<u8>,
}

impl Call {
    /// The worker looks into a room before each claim sends there. Tests count and spoil what it sends: the look is not
    /// counted, and has a fault of its own.
    fn is_look(&self) -> bool {
        const SEEN: [&str; 3] = ["m.room.encryption", "m.room.tombstone", "m.room.member"];
        self.method == "GET"
            && self.path.get(2).is_some_and(|part| part == "state")
            && self.path.get(3).is_some_and(|part| SEEN.contains(&part.as_str()))
    }
}

/// What is done with the connection.
enum Reply {
    Whole(Answer),
    /// Bytes and the pause before each.
    Slow(Answer, Duration),
    Cut(Answer),
    Raw(String),
    Reset,
    Silence,
}

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    accept(listener, move |stream| {
        let shared = shared.clone();
        async move { connection(stream, &shared).await }
    })
    .await;
}

/// Runs `connection` for each client, at the same time. They end when this is dropped.
pub(crate) async fn accept<F>(listener: TcpListener, connection: impl Fn(TcpStream) -> F)
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        // A client that goes away ends its connection, nothing else.
        connections.spawn(connection(stream));
    }
}

async fn connection(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(call) = read_call(&mut stream, &mut buffer).await? else { return Ok(()) };
        if call.is_look() {
            let fault = {
                let world = shared.world();
                let room = call.path.get(1).map(String::as_str);
                world.look_fault.as_ref().or(world.fault_of(room)).cloned()
            };
            shared.world().looks += 1;
            let answer = handle(shared, &call);
            if fault.is_some() {
                if !write(&mut stream, reply(fault, answer), shared).await? {
                    return Ok(());
                }
            } else {
                // Not kept back with the answers to messages.
                stream.write_all(&bytes(&answer)).await?;
            }
            continue;
        }
        {
            let mut world = shared.world();
            world.in_flight += 1;
            world.requests.push(service::request(&call));
        }
        shared.changed.notify_waiters();
        let reply = answer(shared, &call).await;
        let written = write(&mut stream, reply, shared).await;
        shared.world().in_flight -= 1;
        shared.changed.notify_waiters();
        if !written? {
            return Ok(());
        }
    }
}

/// The next call of a connection; `None` when the client has closed it.
pub(crate) async fn read_call(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Call>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if let Ok(httparse::Status::Complete(head)) = request.parse(buffer) {
            let header = |name: &str| {
                let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.map(|header| String::from_utf8_lossy(header.value).into_owned())
            };
            let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            if buffer.len() >= head + length {
                let (path, query) = split_path(request.path.unwrap_or_default());
                let call = Call {
                    method: request.method.unwrap_or_default().to_owned(),
                    path,
                    query,
                    authorization: header("authorization"),
                    database: header("x-odoo-database"),
                    body: serde_json::from_slice(&buffer[head..head + length]).unwrap_or(Value::Null),
                    bytes: buffer[head..head + length].to_vec(),
                };
                buffer.drain(..head + length);
                return Ok(Some(call));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn split_path(target: &str) -> (Vec<String>, String) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let below = path.strip_prefix("/_matrix/client/").unwrap_or(path);
    let below = below.strip_prefix("v3/").unwrap_or(below);
    (below.split('/').map(decode).collect(), query.to_owned())
}

pub(super) fn decode(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn answer(shared: &Shared, call: &Call) -> Reply {
    stream::wait(shared, &call.path, &call.query).await;
    let room = (call.path.first().is_some_and(|part| part == "rooms")).then(|| call.path.get(1)).flatten();
    let (fault, delay) = {
        let mut world = shared.world();
        let is_send = call.path.get(2).is_some_and(|part| part == "send");
        let sent = is_send.then(|| call.body["body"].as_str().unwrap_or_default());
        let path: Vec<_> = call.path.iter().map(String::as_str).collect();
        let fault =
            world.direct.take_fault(&call.method, &path).or_else(|| world.take_reading_fault(&path, &call.query));
        let fault = fault.or_else(|| world.take_upload_fault(&path));
        (fault.or_else(|| world.take_fault(room.map(String::as_str), sent)), world.delay)
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let is_done_first = matches!(
        fault,
        None | Some(Fault::ResetAccepted | Fault::CutAccepted | Fault::SilenceAccepted | Fault::SlowAccepted(_))
    );
    let answer = if is_done_first { handle(shared, call) } else { Answer::ok(Value::Null) };
    shared.changed.notify_waiters();
    reply(fault, answer)
}

fn reply(fault: Option<Fault>, answer: Answer) -> Reply {
    match fault {
        None => Reply::Whole(answer),
        Some(Fault::Refuse { status, errcode }) => Reply::Whole(Answer::refused(status, errcode, "made to fail")),
        Some(Fault::Json { status, body }) => Reply::Whole(Answer { status, body, headers: Vec::new() }),
        Some(Fault::Limit { retry_after_ms }) => Reply::Whole(Answer::limited(retry_after_ms)),
        Some(Fault::Reset | Fault::ResetAccepted) => Reply::Reset,
        Some(Fault::CutAccepted) => Reply::Cut(answer),
        Some(Fault::Silence | Fault::SilenceAccepted) => Reply::Silence,
        Some(Fault::SlowAccepted(pause)) => Reply::Slow(answer, pause),
        Some(Fault::Page { status }) => {
            let page = "<html>not Matrix</html>";
            Reply::Raw(format!("HTTP/1.1 {status} Page\r\nContent-Length: {}\r\n\r\n{page}", page.len()))
        }
        Some(Fault::Redirect) => Reply::Raw(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned(),
        ),
    }
}

/// Does what the call asks for.
fn handle(shared: &Shared, call: &Call) -> Answer {
    let path: Vec<_> = call.path.iter().map(String::as_str).collect();
    if path == ["versions"] {
        return Answer::ok(json!({ "versions": ["v1.11"] }));
    }
    if let Some(refusal) = service::refuse(call) {
        return refusal;
    }
    let mut world = shared.world();
    if let Some(answer) = direct::handle(&mut world, &call.method, &path, &call.body) {
        return answer;
    }
    if let Some(answer) = media::handle(&mut world, call, &path) {
        return answer;
    }
    if let Some(answer) = stream::handle(&world, &call.method, &path, &call.query) {
        return answer;
    }
    match (call.method.as_str(), path.as_slice()) {
        ("PUT", ["rooms", room, "send", event_type, txn_id]) => {
            world.accept(room, event_type, txn_id, call.body.clone())
        }
        ("PUT", ["rooms", room, "redact", event_id, txn_id]) => world.redact(room, event_id, txn_id, call.body.clone()),
        ("GET", ["account", "whoami"]) => {
            let mut body = json!({ "user_id": BOT });
            if let Some(device) = service::device(call, &world) {
                body["device_id"] = json!(device);
            }
            Answer::ok(body)
        }
        ("GET", ["joined_rooms"]) => {
            let joined = world.rooms.iter().filter(|(_, room)| room.membership == Membership::Joined);
            Answer::ok(json!({ "joined_rooms": joined.map(|(id, _)| id).collect::<Vec<_>>() }))
        }
        ("GET", ["sync"]) => {
            let now = rooms::sync(&world.rooms);
            Answer::ok(world.syncs.entry(call.query.clone()).or_insert(now).clone())
        }
        ("GET", ["rooms", room, "state", "m.room.member", user]) => {
            match world.rooms.get(*room).map(|room| room.member_content(user)) {
                Some(Some(membership)) => Answer::ok(membership),
                Some(None) => Answer::refused(404, "M_NOT_FOUND", "Event not found."),
                None => Answer::refused(403, "M_FORBIDDEN", "not in room"),
            }
        }
        ("GET", ["rooms", room, "state", event_type, ..]) => match world.rooms.get(*room) {
            Some(room) if room.membership != Membership::Joined => Answer::refused(403, "M_FORBIDDEN", "not in room"),
            Some(room) if *event_type == "m.room.create" && call.query == "format=event" => Answer::ok(room.creation()),
            Some(room) => match room.state(event_type) {
                Some(state) => Answer::ok(state),
                None => Answer::refused(404, "M_NOT_FOUND", "Event not found."),
            },
            // A room without rules takes what comes.
            None if *event_type == "m.room.encryption" => Answer::refused(404, "M_NOT_FOUND", "Event not found."),
            None => Answer::refused(403, "M_FORBIDDEN", "not in room"),
        },
        ("GET", ["rooms", room, "event", event_id]) => world.event(room, event_id),
        ("GET", ["rooms", room, "messages"]) => {
            let newest = world.events.iter().rev().filter(|event| event.room == **room).take(limit_of(&call.query));
            let chunk: Vec<_> = newest
                .map(|event| {
                    json!({ "event_id": event.id, "type": event.event_type, "sender": BOT, "content": event.content })
                })
                .collect();
            Answer::ok(json!({ "chunk": chunk, "start": "t0" }))
        }
        ("POST", ["rooms", room, "leave"]) => {
            if let Some(room) = world.rooms.get_mut(*room) {
                room.membership = Membership::Left;
            }
            Answer::ok(json!({}))
        }
        ("POST", ["rooms", room, "join"] | ["join", room]) => rooms::join(&mut world.rooms, room),
        _ => Answer::refused(404, "M_UNRECOGNIZED", "Unrecognized request"),
    }
}

fn limit_of(query: &str) -> usize {
    query.split('&').find_map(|pair| pair.strip_prefix("limit=")?.parse().ok()).unwrap_or(10)
}

/// Writes the reply; says whether the connection goes on.
async fn write(stream: &mut TcpStream, reply: Reply, shared: &Shared) -> std::io::Result<bool> {
    match reply {
        Reply::Whole(answer) => {
            // Waits until the test lets answers go.
            let mut holding = shared.holding.subscribe();
            let _ = holding.wait_for(|holding| !holding).await;
            stream.write_all(&bytes(&answer)).await?;
            Ok(true)
        }
        Reply::Raw(text) => {
            stream.write_all(text.as_bytes()).await?;
            Ok(true)
        }
        Reply::Cut(answer) => {
            let bytes = bytes(&answer);
            stream.write_all(&bytes[..bytes.len() - 3]).await?;
            stream.flush().await?;
            Ok(false)
        }
        Reply::Slow(answer, pause) => {
            for byte in bytes(&answer) {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
            Ok(true)
        }
        Reply::Reset => {
            stream.set_zero_linger()?;
            Ok(false)
        }
        Reply::Silence => {
            // Waits until the client gives up.
            let mut sink = [0; 1024];
            while stream.read(&mut sink).await? > 0 {}
            Ok(false)
        }
    }
}

/// An answer without anything special.
pub(crate) fn plain(status: u16, body: Value) -> Answer {
    Answer { status, body, headers: Vec::new() }
}

pub(crate) fn bytes(answer: &Answer) -> Vec<u8> {
    let body = answer.body.to_string();
    let mut head = format!("HTTP/1.1 {} Double\r\nContent-Type: application/json\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
