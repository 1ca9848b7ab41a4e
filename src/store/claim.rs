//! Leasing lanes and reading their messages.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use deadpool_postgres::Object;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_postgres::{Row, Statement, error::SqlState, types::ToSql};
use tracing::warn;

use super::{Store, StoreError, asked::ENCRYPTED_LANES, backlog, connect, int, millis, value};
use crate::message::{
    BackendId, EventId, Failure, InvalidId, Lane, Lease, Message, MessageId, RoomId, Target, ThreadPart, TxnId, UserId,
    code,
};

/// The right to send the messages of one lane until `deadline`, by this process's own clock.
#[derive(Debug)]
pub struct Claim {
    pub lane: Lane,
    pub epoch: i64,
    pub claimed: Instant,
    pub deadline: Instant,
    pub is_taken_over: bool,
    /// The earlier attempts of the first message.
    pub held: Option<HeldSince>,
    /// The room of a person's messages, or the one that replaced the lane's own room.
    pub room: Option<RoomId>,
    /// That room, or the lane's own one, was encrypted once, whatever the homeserver says now.
    pub is_encrypted: bool,
    /// In the order of their ids.
    pub messages: Vec<Message>,
}

impl Claim {
    pub fn lease(&self) -> Lease {
        Lease { lane: self.lane.clone(), epoch: self.epoch }
    }
}

/// What to lease.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub backend: BackendId,
    /// All of that backend.
    pub lanes: &'a [Lane],
    pub most: usize,
    /// At most this many of each lane.
    pub messages: usize,
    /// Once a lane has this many bytes of content, no further message of it is read.
    pub bytes: usize,
    /// The backend is limited, and its slot was taken for this.
    pub is_paced: bool,
    /// The homeserver knows the transaction ids of messages that are not older than this.
    pub remembered_for: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldSince {
    pub id: MessageId,
    pub attempts: i32,
    /// `None`: the message has no failed row in the log yet.
    pub failing_for: Option<Duration>,
    /// What it lacked when it failed last.
    pub lacked: Lacked,
}

/// What a message could not be sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacked {
    /// Odoo did not give its file.
    File,
    /// The keys of people in its room.
    Keys,
    /// The homeserver, or what it says about the room.
    Homeserver,
}

impl Lacked {
    /// By the code of the failure.
    pub fn by_code(code: &str) -> Self {
        match code {
            code::FILE => Self::File,
            code::NO_KEY => Self::Keys,
            _ => Self::Homeserver,
        }
    }
}

impl Store {
    /// Leases those of the lanes that are free and reads their first messages.
    pub async fn claim(&self, wanted: &Wanted<'_>) -> Result<Vec<Claim>, StoreError> {
        let Wanted { backend, lanes, most, messages, bytes, is_paced, remembered_for } = *wanted;
        let names: Vec<_> = lanes.iter().map(Lane::as_str).collect();
        // Taken before the statement is sent, so that our own deadline is never later than the database's.
        let claimed = Instant::now();
        let deadline = claimed + self.lease;
        let (most, rows, bytes) = (int(most), int(messages), int(bytes));
        let (lease, trusted) = (int(self.lease.as_millis()), millis(remembered_for));
        let client = self.client().await?;
        let mut leased = Vec::new();
        let run = async {
            let lease_them = client.prepare_cached(include_str!("../../sql/claim.sql")).await?;
            let read_them = client.prepare_cached(include_str!("../../sql/messages.sql")).await?;
            let look_at_them = which_are_encrypted(&client).await?;
            // All are sent at once, and the server runs one after the other, each in its own transaction.
            let lease: [&(dyn ToSql + Sync); 6] = [&self.name.owner, &names, &most, &lease, &backend, &is_paced];
            let read: [&(dyn ToSql + Sync); 5] = [&self.name.owner, &names, &rows, &trusted, &bytes];
            let lease_them = async {
                leased = client.query(&lease_them, &lease).await?;
                Ok(())
            };
            // Only now, when nobody else can send there: what others have sent encrypted before is known to be.
            let look_at_them = async {
                match &look_at_them {
                    Some(statement) => client.query(statement, &[&backend, &names]).await,
                    None => Ok(Vec::new()),
                }
            };
            tokio::try_join!(biased; lease_them, client.query(&read_them, &read), look_at_them)
        };
        let answer = timeout(connect::ANSWER_TIMEOUT, run).await;
        let (messages, encrypted) = match self.answered(answer, client) {
            Ok(((), messages, encrypted)) => (messages, encrypted),
            Err(error) => {
                self.unclaim(&leased).await;
                return Err(error);
            }
        };
        let mut claims = HashMap::with_capacity(leased.len());
        for row in &leased {
            let lane = Lane::new(value::<&str>(row, "lane")?);
            let claim = Claim {
                lane: lane.clone(),
                epoch: value(row, "epoch")?,
                claimed,
                deadline,
                is_taken_over: value(row, "is_taken_over")?,
                held: read_held(row)?,
                room: stored_room(row)?,
                is_encrypted: false,
                messages: Vec::new(),
            };
            claims.insert(lane, claim);
        }
        for row in messages {
            // A lane that was leased by an earlier claim whose answer was lost is not part of this one: its lease will end.
            if let Some(claim) = claims.get_mut(&Lane::new(value::<&str>(&row, "lane")?)) {
                claim.messages.push(read_message(&row)?);
            }
        }
        for row in encrypted {
            if let Some(claim) = claims.get_mut(&Lane::new(value::<&str>(&row, "lane")?)) {
                claim.is_encrypted = true;
            }
        }
        let mut claims: Vec<_> = claims.into_values().collect();
        for claim in &mut claims {
            // A join does not guarantee an order.
            claim.messages.sort_unstable_by_key(|message| message.id);
        }
        claims.sort_unstable_by(|a, b| a.lane.cmp(&b.lane));
        Ok(claims)
    }

    /// Gives back lanes whose messages could not be read: otherwise nobody could have them before their leases end.
    async fn unclaim(&self, leased: &[Row]) {
        let lanes = leased
            .iter()
            .map(|row| Ok(Lease { lane: Lane::new(value::<&str>(row, "lane")?), epoch: value(row, "epoch")? }));
        let Ok(lanes) = lanes.collect::<Result<Vec<_>, StoreError>>() else { return };
        if lanes.is_empty() {
            return;
        }
        if let Err(error) = self.give_back(&lanes).await {
            warn!(%error, lanes = lanes.len(), "Lanes whose messages could not be read could not be given back; their leases will end");
        }
    }
}

impl Store {
    /// The event that a message changes, and the ID of its room, if the original message was sent.
    pub async fn changed_event(
        &self,
        lane: &Lane,
        id: MessageId,
    ) -> Result<Option<(EventId, Option<String>)>, StoreError> {
        let rows = self.query(include_str!("../../sql/changed_event.sql"), &[&id, &lane.as_str()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some((EventId::new(value::<&str>(row, "matrix_event_id")?), value(row, "room_id")?)))
    }
}

/// The statement that finds the lanes whose rooms were encrypted once. Earlier contracts do not remember such rooms.
async fn which_are_encrypted(client: &Object) -> Result<Option<Statement>, tokio_postgres::Error> {
    match client.prepare_cached(ENCRYPTED_LANES).await {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        prepared => prepared.map(Some),
    }
}

fn read_held(row: &Row) -> Result<Option<HeldSince>, StoreError> {
    let Some(id) = value::<Option<i64>>(row, "head_id")? else { return Ok(None) };
    let failing_for = backlog::seconds(value(row, "failing_seconds")?);
    // As a failure is shown: its code comes last.
    let code = value::<Option<&str>>(row, "last_error")?.and_then(|error| error.strip_suffix(')')?.rsplit_once('('));
    let lacked = Lacked::by_code(code.map_or("", |(_, code)| code));
    Ok(Some(HeldSince { id, attempts: value(row, "attempts")?, failing_for, lacked }))
}

/// The lane's room. One that cannot exist is as if none were stored: it is found anew.
fn stored_room(row: &Row) -> Result<Option<RoomId>, StoreError> {
    let Some(text) = value::<Option<&str>>(row, "room_id")? else { return Ok(None) };
    let room = RoomId::parse(text);
    Ok(room.inspect_err(|error| warn!(%error, "A lane has a room that cannot exist; it is not used")).ok())
}

/// Where a message goes. The constraints of the outbox are not as strict as the IDs.
fn target(row: &Row) -> Result<Target, StoreError> {
    let invalid = |code: &str, error: InvalidId| Target::Nowhere(Failure::new(code, error.to_string()));
    Ok(match value::<Option<&str>>(row, "room_id")? {
        Some(room) => RoomId::parse(room).map_or_else(|error| invalid(code::ROOM, error), Target::Room),
        None => UserId::parse(value::<&str>(row, "matrix_user_id")?)
            .map_or_else(|error| invalid(code::NO_SUCH_USER, error), Target::Person),
    })
}

fn read_message(row: &Row) -> Result<Message, StoreError> {
    let mut message = Message {
        id: value(row, "id")?,
        target: target(row)?,
        matrix_type: value(row, "matrix_type")?,
        content: value(row, "content")?,
        may_be_unencrypted: value(row, "may_be_unencrypted")?,
        changes: value::<Option<&str>>(row, "changes")?.map(TxnId::new),
        thread: value::<Option<bool>>(row, "opens_thread")?
            .map(|opens| if opens { ThreadPart::Opening } else { ThreadPart::Later }),
        has_file: value(row, "has_file")?,
        txn_id: TxnId::new(value::<&str>(row, "txn_id")?),
        event_type: value(row, "event_type")?,
        queued_for: backlog::seconds(value(row, "queued_seconds")?).unwrap_or_default(),
        is_expired: value(row, "is_expired")?,
        is_past_dedup: value(row, "is_past_dedup")?,
    };
    let is_completed_here = message.has_file || message.changes.is_some() || message.thread == Some(ThreadPart::Later);
    // PostgreSQL accepts what is nested more deeply and what has greater numbers.
    if is_completed_here && let Err(error) = serde_json::from_str::<Map<String, Value>>(&message.content) {
        message.target = Target::Nowhere(Failure::new("M_BAD_JSON", format!("the content cannot be read: {error}")));
    }
    Ok(message)
}
