//! What is in the room already: messages that were sent but whose answer was lost, and messages that were overtaken by
//! later ones.

use std::collections::{BTreeMap, HashSet};

use tracing::warn;

use super::{Route, SHORTEST_REST, Step};
use crate::{
    lane::Delivery,
    matrix::Homeserver,
    message::{EventId, Failure, Message, MessageId, Outcome, RoomId, Target, code},
    store::Waiting,
};

impl Route {
    /// Messages that have failed although a later one is in the room; they are to be given up.
    pub(in crate::lane) fn give_up_overtaken(&mut self) -> &[MessageId] {
        self.has_given_up = true;
        self.overtaken.as_deref().unwrap_or_default()
    }

    /// Whether the message was given up in this claim.
    pub(in crate::lane) fn gave_up(&self, id: MessageId) -> bool {
        self.has_given_up && self.overtaken.iter().flatten().any(|overtaken| *overtaken == id)
    }

    /// What the room's recent events say about a message that may have been sent before, with the answer lost.
    pub(super) async fn known_already(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        room: &RoomId,
        message: &Message,
    ) -> Result<Option<Outcome>, Step> {
        if !message.is_past_dedup && !self.is_suspect {
            return Ok(None);
        }
        if self.markers.is_none() {
            self.markers = Some(match homeserver.recent_markers(room).await {
                Ok(markers) => markers,
                // If we may not read the room we may not send to it either: the PUT will be refused, and then diagnosed.
                Err(error) if matches!(error.outcome(), Outcome::Forbidden(_)) => BTreeMap::new(),
                // The homeserver still knows a suspect's transaction id, so the PUT itself is safe.
                Err(_) if !message.is_past_dedup => return Ok(None),
                Err(error) => return Err(error.into()),
            });
        }
        let event_id = self.markers.as_ref().and_then(|markers| markers.get(message.txn_id.as_str()));
        if let Some(event_id) = event_id {
            return Ok(Some(Outcome::Sent(event_id.clone())));
        }
        if self.is_suspect && self.overtaken(delivery).await?.contains(&message.id) {
            return Err(Step::Overtaken);
        }
        Ok(None)
    }

    /// The messages that have failed although a message that waits behind them is in the room: that one was tried past them,
    /// and its answer was lost. One that failed itself before they did had been tried before them, which proves nothing.
    async fn overtaken(&mut self, delivery: &Delivery<'_>) -> Result<&[MessageId], Step> {
        if self.overtaken.is_none() {
            let waiting = delivery.context.store.first_of(&delivery.claim.lane).await.map_err(|error| {
                warn!(%error, "Could not find out which messages of the lane have failed");
                Step::LaneLimited(SHORTEST_REST)
            })?;
            let markers = self.markers.iter().flatten().map(|(txn_id, _)| txn_id.as_str()).collect::<HashSet<_>>();
            let is_there = |message: &Waiting| markers.contains(message.txn_id.as_str());
            let is_overtaken = |(place, message): &(usize, &Waiting)| {
                let is_later = |row| message.failed_row.is_some_and(|failed| failed < row);
                let is_past = |later: &Waiting| is_there(later) && later.failed_row.is_none_or(is_later);
                message.failed_row.is_some() && !is_there(message) && waiting[place + 1..].iter().any(is_past)
            };
            let overtaken = waiting.iter().enumerate().filter(is_overtaken);
            let overtaken: Vec<_> = overtaken.map(|(_, message)| message.id).collect();
            let is_claimed = |id: &MessageId| delivery.claim.messages.iter().any(|message| message.id == *id);
            if !overtaken.iter().all(is_claimed) {
                // All of them are given up together, by a claim that has them all.
                return Err(Step::LaneLimited(SHORTEST_REST));
            }
            self.overtaken = Some(overtaken);
        }
        Ok(self.overtaken.as_deref().unwrap_or_default())
    }

    /// Whether a message that was found in the room was there before the `head` was tried, which proves nothing about the head.
    pub(in crate::lane) async fn was_there_before(
        &mut self,
        delivery: &Delivery<'_>,
        message: &Message,
        head: &Message,
    ) -> Result<bool, Step> {
        let is_found = self.markers.as_ref().is_some_and(|markers| markers.contains_key(message.txn_id.as_str()));
        Ok(is_found && !self.overtaken(delivery).await?.contains(&head.id))
    }

    /// How a message ends that has expired. An earlier try may have brought it into the room, with the answer lost.
    pub(super) async fn expired(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
    ) -> Result<Outcome, Step> {
        // Nobody can have tried a message of a lane that is leased for the first time.
        if self.markers.is_none()
            && delivery.claim.epoch > 1
            && let Some(room) = self.room_of(message)
        {
            self.markers = Some(match homeserver.recent_markers(room).await {
                Err(error) if error.is_refusal() => BTreeMap::new(),
                answer => answer?,
            });
        }
        let event_id = self.markers.as_ref().and_then(|markers| markers.get(message.txn_id.as_str()));
        let expired = || Outcome::Rejected(Failure::new(code::EXPIRED, "expired before it could be sent"));
        Ok(event_id.cloned().map_or_else(expired, Outcome::Sent))
    }

    /// What is in the room, looked up again.
    pub(in crate::lane) async fn markers_now(
        &self,
        homeserver: &Homeserver,
        message: &Message,
    ) -> BTreeMap<String, EventId> {
        let Some(room) = self.room_of(message) else { return BTreeMap::new() };
        homeserver.recent_markers(room).await.unwrap_or_default()
    }

    /// Where the message is, if it has been sent.
    fn room_of<'a>(&'a self, message: &'a Message) -> Option<&'a RoomId> {
        match (&self.room, &message.target) {
            (Some(room), _) | (None, Target::Room(room)) => Some(room),
            (None, Target::Person(_) | Target::Nowhere(_)) => None,
        }
    }
}
