//! The thread of a record: its first message begins the thread, and later ones are sent in it.
//!
//! Odoo marks the messages of a backend that uses threads with the kinds of event that begin one. If the thread cannot be used, because its
//! first message is gone or is in another room, a message is sent outside of it.

use std::{borrow::Cow, collections::HashMap};

use serde_json::{Map, Value, json};
use tracing::{debug, warn};

use super::{
    Delivery,
    route::{SHORTEST_REST, Step},
};
use crate::{
    matrix::{Homeserver, SendError},
    message::{EventId, Message, MessageId, RoomId, ThreadPart},
};

/// What this claim knows about threads.
#[derive(Default)]
pub(super) struct Threads {
    /// Those that it has looked at, by their first event: the last event of each, or `None` if it cannot be used.
    seen: HashMap<EventId, Option<EventId>>,
    /// The message that was refused in its thread.
    refused: Option<MessageId>,
}

/// Where a message belongs.
#[derive(Debug)]
pub(super) enum Place {
    Outside,
    /// It begins the thread of its record.
    First,
    Within {
        root: EventId,
        last: EventId,
    },
    /// It was refused in its thread, perhaps not because of that.
    Beside {
        root: EventId,
    },
}

impl Place {
    /// Where `message` belongs in `room`.
    ///
    /// # Errors
    /// What ends the attempt: the database or the homeserver does not answer.
    pub(super) async fn of(
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        room: &RoomId,
        threads: &mut Threads,
    ) -> Result<Self, Step> {
        match message.thread {
            // An edit or a redaction belongs where its message is.
            _ if message.changes.is_some() => return Ok(Self::Outside),
            None => return Ok(Self::Outside),
            Some(ThreadPart::Opening) => return Ok(Self::First),
            Some(ThreadPart::Later) => {}
        }
        let lane = &delivery.claim.lane;
        let root = delivery.context.store.thread_root(lane, message.id, room).await.map_err(|error| {
            warn!(%error, message.id, "The thread of a message could not be read");
            Step::LaneLimited(SHORTEST_REST)
        })?;
        let Some(root) = root else { return Ok(Self::Outside) };
        if !root.is_kept {
            keep(delivery, message, room, &root.event).await;
        }
        if threads.refused == Some(message.id) {
            return Ok(Self::Beside { root: root.event });
        }
        let last = match threads.seen.get(&root.event) {
            Some(last) => last.clone(),
            None => {
                let last = look(homeserver, room, &root.event).await?;
                threads.seen.insert(root.event.clone(), last.clone());
                last
            }
        };
        Ok(last.map_or(Self::Outside, |last| Self::Within { root: root.event, last }))
    }

    /// `message` with its relation to the thread.
    pub(super) fn put<'m>(&self, message: &'m Message) -> Cow<'m, Message> {
        let Self::Within { root, last } = self else { return Cow::Borrowed(message) };
        let mut content: Map<String, Value> = serde_json::from_str(&message.content).expect("checked when it was read");
        let relation = json!({
            "rel_type": "m.thread",
            "event_id": root.as_str(),
            // For clients that do not show threads.
            "is_falling_back": true,
            "m.in_reply_to": { "event_id": last.as_str() },
        });
        content.insert("m.relates_to".to_owned(), relation);
        Cow::Owned(Message { content: Value::Object(content).to_string(), ..message.clone() })
    }

    /// The homeserver has the message as `event`.
    pub(super) async fn sent(
        self,
        delivery: &Delivery<'_>,
        message: &Message,
        room: &RoomId,
        event: &EventId,
        threads: &mut Threads,
    ) {
        match self {
            Self::Outside => {}
            Self::First => {
                keep(delivery, message, room, event).await;
                threads.seen.insert(event.clone(), Some(event.clone()));
            }
            Self::Within { root, .. } => {
                threads.seen.insert(root, Some(event.clone()));
            }
            // It was the thread.
            Self::Beside { root } => {
                threads.seen.insert(root, None);
            }
        }
    }

    /// The homeserver does not accept the message like this. Returns whether it is to be tried outside of its thread. If it is refused
    /// there too, the thread is not at fault.
    pub(super) fn refused(&self, message: &Message, threads: &mut Threads) -> bool {
        let is_within = matches!(self, Self::Within { .. });
        if is_within {
            threads.refused = Some(message.id);
        }
        is_within
    }
}

/// The last event of the thread that begins with `root`; `None` if the thread cannot be used.
async fn look(homeserver: &Homeserver, room: &RoomId, root: &EventId) -> Result<Option<EventId>, SendError> {
    match homeserver.last_of_thread(room, root).await {
        Err(error) if error.is_refusal() => {
            debug!(%error, event.id = %root, "A thread cannot be used");
            Ok(None)
        }
        last => last,
    }
}

/// Stores where a record's thread begins. If that fails, the log still has it for as long as it keeps the line.
async fn keep(delivery: &Delivery<'_>, message: &Message, room: &RoomId, root: &EventId) {
    let lane = &delivery.claim.lane;
    if let Err(error) = delivery.context.store.keep_thread(lane, message.id, room, root).await {
        warn!(%error, message.id, "Where a thread begins could not be stored");
    }
}
