//! The words: what a message is, who it is for, and how it ended. Knows nothing but `std`.

pub mod code;

use std::{error::Error, fmt, sync::Arc, time::Duration};

/// A text with a type of its own. Clones share it.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A name that is what it is: any text can be one.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        text_type! { $(#[$doc])* $name }

        impl $name {
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
        }
    };
}

name! {
    /// Messages of one lane go out one after the other: `<backend id>/<room id>`, or `<backend id>/<@user:server>` for
    /// a direct message.
    Lane
}
name! {
    /// Names one message to the homeserver, so that a repeated PUT sends nothing twice.
    ///
    /// Stored with the row and kept for its whole life: a new id would be a new message.
    TxnId
}
name! {
    /// What the homeserver calls an event that it has accepted.
    EventId
}
text_type! {
    /// A Matrix room: `!` and at most 254 more bytes. What they say is up to the homeserver: rooms of version 12 have no `:server`.
    RoomId
}
text_type! {
    /// A person or bot in Matrix: `@localpart:server`, at most 255 bytes.
    UserId
}

/// The specification's limit for each kind of ID, in bytes.
const LONGEST_ID: usize = 255;

impl RoomId {
    /// # Errors
    /// When `text` is not the ID of a room.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let is_valid = text.strip_prefix('!').is_some_and(|rest| !rest.is_empty()) && is_short_text(text);
        if is_valid { Ok(Self(text.into())) } else { Err(InvalidId::new(text, "room ID", "!abc:example.org")) }
    }
}

impl UserId {
    /// Any localpart will do, even an empty one: the specification asks clients to accept what old accounts have ("Historical User IDs").
    ///
    /// # Errors
    /// When `text` is not the ID of a person.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let parts = text.strip_prefix('@').and_then(|rest| rest.split_once(':'));
        let is_valid = parts.is_some_and(|(_, server)| !server.is_empty()) && is_short_text(text);
        if is_valid { Ok(Self(text.into())) } else { Err(InvalidId::new(text, "Matrix ID", "@name:example.org")) }
    }

    /// The homeserver of the account.
    pub fn server(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, server)| server)
    }
}

fn is_short_text(text: &str) -> bool {
    text.len() <= LONGEST_ID && !text.contains('\0')
}

/// A text that is not the ID that it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidId {
    /// The beginning of the text, on one line.
    text: String,
    kind: &'static str,
    example: &'static str,
}

impl InvalidId {
    fn new(text: &str, kind: &'static str, example: &'static str) -> Self {
        Self { text: text.chars().filter(|c| !c.is_control()).take(100).collect(), kind, example }
    }
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "«{}» is not a valid {}; write it as {}", self.text, self.kind, self.example)
    }
}

impl Error for InvalidId {}

/// `matrix_backend.id`: one configured homeserver account.
pub type BackendId = i32;

impl Lane {
    /// The backend that sends the lane's messages.
    pub fn backend(&self) -> Option<BackendId> {
        self.0.split_once('/')?.0.parse().ok()
    }
}

/// The right to send a lane's messages. The epoch grows with each lease of the lane, so it fences results that come late.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    pub lane: Lane,
    pub epoch: i64,
}

/// `matrix_outbox.id`: the order within a lane.
pub type MessageId = i64;

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Room(RoomId),
    /// The direct room with this person, which the worker finds or makes.
    Person(UserId),
    /// The row names a room or a person that cannot exist.
    Nowhere(Failure),
}

/// What a message is for the thread of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadPart {
    /// It begins the thread.
    Opening,
    /// It is sent in the thread that an earlier message began.
    Later,
}

/// One outbox row: one event for one room or person.
#[derive(Clone)]
pub struct Message {
    pub id: MessageId,
    pub target: Target,
    /// Matrix event type, as `m.room.message`.
    pub matrix_type: String,
    /// The event content, a JSON object as text, sent as it is.
    pub content: String,
    /// Somebody who may write the record has agreed that the message is sent unencrypted to an encrypted room.
    pub may_be_unencrypted: bool,
    /// The message that this one edits or redacts.
    pub changes: Option<TxnId>,
    /// Its part in the thread of its record, if its backend uses threads.
    pub thread: Option<ThreadPart>,
    /// It is a file of Odoo's, which the homeserver must have before the message is sent.
    pub has_file: bool,
    pub txn_id: TxnId,
    /// What made Odoo queue it, as `stage_changed`.
    pub event_type: String,
    /// How long it had waited when it was claimed, by the database's clock.
    pub queued_for: Duration,
    /// It has expired: it is logged as failed and not sent.
    pub is_expired: bool,
    /// Too old to rely on the homeserver's memory of its transaction id.
    pub is_past_dedup: bool,
}

impl fmt::Debug for Message {
    /// Without the content, which is private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("target", &self.target)
            .field("txn_id", &self.txn_id)
            .finish()
    }
}

/// Why something was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A Matrix errcode as the homeserver gave it, or one of ours from [`code`].
    pub code: String,
    /// For people to read, without tokens or addresses.
    pub text: String,
}

impl Failure {
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.code)
    }
}

/// Who gave the answer that a message failed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nobody: no connection, or no answer in time.
    Silence,
    /// Something that does not answer as a failing homeserver would: usually a proxy.
    Other,
    /// The homeserver itself failed to process this request: 5xx with Matrix JSON.
    ServerError,
}

/// What an answer of the homeserver means for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The homeserver has it.
    Sent(EventId),
    /// It may work next time: one retry, then it counts as poison or outage.
    Transient { failure: Failure, reply: Reply },
    /// The account sends too fast. This counts neither as a failure nor as an attempt.
    Limited { pause: Duration },
    /// The account is refused, whatever it sends; an outage with a reason.
    Unauthorized(Failure),
    /// The backend's configuration is at fault.
    Misconfigured(Failure),
    /// Not allowed in this room; the cause has to be diagnosed.
    Forbidden(Failure),
    /// This message is at fault, and trying it again would not help.
    Rejected(Failure),
}

/// What the worker knows of a backend, in the words of `matrix_backend_status.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ok,
    RateLimited,
    Down,
    Unauthorized,
    Misconfigured,
    Paused,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::RateLimited, Self::Down, Self::Unauthorized, Self::Misconfigured, Self::Paused];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::RateLimited => "rate_limited",
            Self::Down => "down",
            Self::Unauthorized => "unauthorized",
            Self::Misconfigured => "misconfigured",
            Self::Paused => "paused",
        }
    }

    /// Whether messages go out, if slowly.
    pub fn may_send(self) -> bool {
        matches!(self, Self::Ok | Self::RateLimited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_valid_as_the_specification_says_and_never_empty() {
        let longest = format!("!{}", "x".repeat(LONGEST_ID - 1));
        for room in ["!a:x.org", "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM", &longest] {
            assert_eq!(RoomId::parse(room).map(|room| room.to_string()).as_deref(), Ok(room));
        }
        for room in ["", "!", "a:x.org", "#a:x.org", "@a:x.org", "!a\0", &format!("{longest}x")] {
            assert!(RoomId::parse(room).is_err(), "{room:?}");
        }
        for user in ["@ann:x.org", "@Old Name/+=é:x.org:8448", "@:x.org", "@ann:[::1]:8448"] {
            assert_eq!(UserId::parse(user).map(|user| user.to_string()).as_deref(), Ok(user));
        }
        for user in
            ["", "@", "@ann", "@ann:", "ann:x.org", "!a:x.org", "@a\0:x.org", &format!("@{}:x.org", "a".repeat(250))]
        {
            assert!(UserId::parse(user).is_err(), "{user:?}");
        }
        assert_eq!(UserId::parse("@ann:[::1]:8448").map(|user| user.server().to_owned()).as_deref(), Ok("[::1]:8448"));
    }

    #[test]
    fn an_invalid_id_is_named_on_one_line_with_what_it_should_be() {
        let error = RoomId::parse("#case:x.org\n").unwrap_err().to_string();

        assert_eq!(error, "«#case:x.org» is not a valid room ID; write it as !abc:example.org");
    }
}
