//! What can be made to go wrong.

use std::time::Duration;

use serde_json::Value;

/// How a call fails. "Accepted" faults happen after the homeserver has stored the event.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A Matrix error.
    Refuse { status: u16, errcode: &'static str },
    /// An answer with this body.
    Json { status: u16, body: Value },
    /// 429 with this pause in the body.
    Limit { retry_after_ms: u64 },
    /// The connection is reset before anything was done.
    Reset,
    /// The event is stored, then the connection is reset.
    ResetAccepted,
    /// The event is stored, the answer breaks off in the middle.
    CutAccepted,
    /// Nothing is done and nothing is answered.
    Silence,
    /// The event is stored and nothing is answered.
    SilenceAccepted,
    /// The event is stored and the answer comes one byte at a time, each after this pause.
    SlowAccepted(Duration),
    /// A page that is not JSON.
    Page { status: u16 },
    /// A redirect to another host.
    Redirect,
}
