//! What goes to Odoo in one call.

use serde_json::{Value, json};

use crate::matrix::{Names, RoomEvent};

/// The most events in one call: as many as a homeserver sends to an application service.
const MOST_EVENTS: usize = 100;

/// The most bytes in one call: what a proxy in front of Odoo accepts by default.
const MOST_BYTES: usize = 900 << 10;

/// Events in the order in which they are passed on, and the display names of their senders.
#[derive(Default)]
pub(super) struct Batch {
    events: Vec<RoomEvent>,
    names: Names,
    bytes: usize,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds an event. If it does not fit, returns the batch so far and begins a new one.
    pub(super) fn add(&mut self, event: RoomEvent, names: &Names) -> Option<Self> {
        let bytes = event.json.to_string().len();
        let is_full = !self.is_empty() && (self.events.len() >= MOST_EVENTS || self.bytes + bytes > MOST_BYTES);
        let full = is_full.then(|| std::mem::take(self));
        let name = names.get_key_value(&event.sender);
        self.names.extend(name.map(|(sender, name)| (sender.clone(), name.clone())));
        self.bytes += bytes;
        self.events.push(event);
        full
    }

    /// The same with other events.
    #[cfg(feature = "encryption")]
    pub(super) fn with(&self, events: Vec<RoomEvent>) -> Self {
        Self { events, names: self.names.clone(), bytes: self.bytes }
    }

    pub(super) fn events(&self) -> &[RoomEvent] {
        &self.events
    }

    /// The body of a call with some of the events.
    pub(super) fn body(&self, events: &[RoomEvent]) -> Value {
        let events: Vec<_> = events.iter().map(|event| &event.json).collect();
        json!({ "events": events, "names": self.names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::EventId;

    fn event(size: usize) -> RoomEvent {
        let json = json!({ "content": "x".repeat(size) });
        RoomEvent { id: EventId::new("$x"), sender: "@anna:x".to_owned(), json }
    }

    #[test]
    fn a_batch_is_bounded_in_events_and_in_bytes_and_an_event_alone_always_has_a_place() {
        let mut batch = Batch::default();
        let names = Names::from([("@anna:x".to_owned(), "Anna".to_owned()), ("@bert:x".to_owned(), "Bert".to_owned())]);

        let small: Vec<_> = (0..250).filter_map(|_| batch.add(event(1), &names)).collect();
        assert_eq!(small.iter().map(|batch| batch.events().len()).collect::<Vec<_>>(), [100, 100]);
        assert_eq!(batch.body(batch.events())["names"], json!({ "@anna:x": "Anna" }));

        assert_eq!(batch.add(event(MOST_BYTES), &names).map(|batch| batch.events().len()), Some(50));
        assert_eq!(batch.add(event(1), &names).map(|batch| batch.events().len()), Some(1));
    }
}
