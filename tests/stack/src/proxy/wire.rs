//! PostgreSQL's frontend protocol, version 3: messages and the statements that they run.

use std::collections::HashMap;

use super::CONNECT;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// One message of the client.
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    /// The text of the statement that it runs.
    pub(super) runs: Option<String>,
    /// The server answers now and says that it is ready: after a simple query, a Sync, the first message.
    pub(super) ends_a_step: bool,
}

/// Takes messages off the client's bytes and remembers what it has prepared.
#[derive(Default)]
pub(super) struct Requests {
    has_started: bool,
    /// The first message is past, and what follows is a session.
    is_in_session: bool,
    prepared: HashMap<Vec<u8>, String>,
    /// The server answers an offer of encryption with one byte.
    offers: usize,
}

impl Requests {
    /// The next whole message.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Option<Request> {
        let head = usize::from(self.has_started);
        let length = u32::from_be_bytes(buffer.get(head..head + 4)?.try_into().ok()?) as usize;
        if buffer.len() < head + length {
            return None;
        }
        let rest = buffer.split_off(head + length);
        let bytes = std::mem::replace(buffer, rest);
        if !self.has_started {
            return Some(self.first(bytes));
        }
        self.is_in_session = true;
        let body = &bytes[5..];
        let (runs, ends_a_step) = match bytes[0] {
            b'Q' => (Some(text(body).0), true),
            b'P' => {
                let (name, rest) = cut(body);
                self.prepared.insert(name.to_vec(), text(rest).0);
                (None, false)
            }
            b'B' => (self.prepared.get(cut(cut(body).1).0).cloned(), false),
            b'S' => (None, true),
            _ => (None, false),
        };
        Some(Request { bytes, runs, ends_a_step })
    }

    /// Takes the server's whole messages off its bytes, and says how many steps they end.
    pub(super) fn answers(&mut self, buffer: &mut Vec<u8>) -> (Vec<u8>, usize) {
        let mut end = self.offers.min(buffer.len());
        self.offers -= end;
        let mut steps = 0;
        while let Some(length) = buffer.get(end + 1..end + 5) {
            let length = 1 + length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            if buffer.len() < end + length {
                break;
            }
            steps += usize::from(buffer[end] == b'Z');
            end += length;
        }
        let rest = buffer.split_off(end);
        (std::mem::replace(buffer, rest), steps)
    }

    /// Whether the session has begun; until then an error ends the connection.
    pub(super) fn is_started(&self) -> bool {
        self.is_in_session
    }

    fn first(&mut self, bytes: Vec<u8>) -> Request {
        let code = bytes.get(4..8).and_then(|code| Some(u32::from_be_bytes(code.try_into().ok()?)));
        self.has_started = !matches!(code, Some(SSL_REQUEST | GSS_REQUEST));
        self.offers += usize::from(!self.has_started);
        let runs = self.has_started.then(|| CONNECT.to_owned());
        Request { bytes, runs, ends_a_step: self.has_started }
    }
}

/// An ErrorResponse, and what follows it: nothing when the server ends the session, else that it is ready.
pub(super) fn refusal(code: &str, ends_session: bool) -> Vec<u8> {
    let severity = if ends_session { "FATAL" } else { "ERROR" };
    let body = format!("S{severity}\0V{severity}\0C{code}\0Mmade to fail\0\0");
    let mut bytes = vec![b'E'];
    bytes.extend(u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(body.bytes());
    if !ends_session {
        bytes.extend(b"Z\0\0\0\x05I");
    }
    bytes
}

fn text(bytes: &[u8]) -> (String, &[u8]) {
    let (text, rest) = cut(bytes);
    (String::from_utf8_lossy(text).into_owned(), rest)
}

/// Up to the next NUL, and what follows that.
fn cut(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}
