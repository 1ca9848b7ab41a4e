//! Threads, as Synapse treats them.

use serde_json::{Value, json};

use super::{Answer, Event, World};

impl World {
    /// One event, with what the homeserver adds to it: whether it was redacted, and the last event of its thread.
    pub(super) fn event(&self, room: &str, event_id: &str) -> Answer {
        let of_room = || self.events.iter().filter(|event| event.room == room);
        let Some(event) = of_room().find(|event| event.id == event_id) else {
            return Answer::refused(404, "M_NOT_FOUND", "Event not found.");
        };
        let mut unsigned = json!({});
        if of_room().any(|other| other.event_type == "m.room.redaction" && other.content["redacts"] == event_id) {
            unsigned["redacted_because"] = json!({ "type": "m.room.redaction" });
        }
        if let Some(last) = of_room().rfind(|other| is_in_thread(other, event_id)) {
            unsigned["m.relations"]["m.thread"]["latest_event"] = json!({ "event_id": last.id });
        }
        Answer::ok(json!({ "event_id": event.id, "content": event.content, "unsigned": unsigned }))
    }

    /// A thread begins with an event of the same room that is not itself related to another one.
    pub(super) fn refuses_relation(&self, room: &str, content: &Value) -> Option<Answer> {
        let relation = &content["m.relates_to"];
        if relation["rel_type"] != "m.thread" {
            return None;
        }
        let mut known =
            self.events.iter().filter(|event| event.room == room && relation["event_id"] == event.id.as_str());
        let is_root = known.next().is_some_and(|event| event.content["m.relates_to"].is_null());
        (!is_root).then(|| Answer::refused(400, "M_UNKNOWN", "Can't send relation to unknown event"))
    }
}

fn is_in_thread(event: &Event, root: &str) -> bool {
    let relation = &event.content["m.relates_to"];
    relation["rel_type"] == "m.thread" && relation["event_id"] == root
}
