//! What was written in a room while the account was in it.

use super::{
    answer::Event,
    sync::{RoomEvent, room_event},
};
use crate::message::{RoomId, UserId};

/// The events for Odoo among those of a room, without those from when the account was not in it: a room may let who comes back read
/// them. `is_in` is whether it was in the room before; else the first change of its own membership shows that. Without any it was.
pub(super) fn written_while_in(
    me: &UserId,
    room: &RoomId,
    events: Vec<Event>,
    is_in: Option<bool>,
) -> (Vec<RoomEvent>, Option<bool>) {
    let first = || events.iter().find(|event| event.is_membership_of(me.as_str()));
    let mut is_in = is_in.or_else(|| first().map(Event::was_in));
    let mut written = Vec::new();
    for event in events {
        if event.is_membership_of(me.as_str()) {
            is_in = Some(event.text("membership") == Some("join"));
        } else if is_in != Some(false) {
            written.extend(room_event(me, room, event));
        }
    }
    (written, is_in)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::matrix::{
        answer::RoomPart,
        sync::{MEMBER, heard},
    };

    const ME: &str = "@odoo:x.org";
    const ANNA: &str = "@anna:x.org";

    fn said(id: &str) -> Event {
        read(json!({ "event_id": id, "type": "m.room.message", "sender": ANNA, "content": {} }))
    }

    fn read(event: Value) -> Event {
        serde_json::from_value(event).unwrap()
    }

    fn own(membership: &str, before: Option<&str>) -> Event {
        let mut event = json!({
            "event_id": format!("${membership}"), "type": MEMBER, "state_key": ME, "sender": ANNA,
            "content": { "membership": membership },
        });
        if let Some(before) = before {
            event["unsigned"] = json!({ "prev_content": { "membership": before } });
        }
        read(event)
    }

    fn ids(events: &[RoomEvent]) -> Vec<&str> {
        events.iter().map(|event| event.id.as_str()).collect()
    }

    #[test]
    fn what_is_written_while_the_account_is_not_in_the_room_is_not_for_odoo() {
        let (me, room) = (UserId::parse(ME).unwrap(), RoomId::parse("!a:x.org").unwrap());
        let kicked = vec![said("$1"), own("leave", Some("join")), said("$2"), own("invite", Some("leave")), said("$3")];
        let back = vec![said("$4"), own("join", Some("invite")), said("$5")];

        let (events, is_in) = written_while_in(&me, &room, kicked, None);
        assert_eq!((ids(&events), is_in), (vec!["$1"], Some(false)));
        let (events, is_in) = written_while_in(&me, &room, back, is_in);
        assert_eq!((ids(&events), is_in), (vec!["$5"], Some(true)));
        let (events, _) = written_while_in(&me, &room, vec![said("$0"), own("invite", None), said("$1")], None);
        assert_eq!(ids(&events), [""; 0], "before it was ever there");
        let (events, is_in) =
            written_while_in(&me, &room, vec![said("$1"), own("join", Some("join")), said("$2")], None);
        assert_eq!((ids(&events), is_in), (vec!["$1", "$2"], Some(true)), "another display name");
        assert_eq!(written_while_in(&me, &room, vec![said("$1")], None).1, None);
    }

    #[test]
    fn a_room_that_the_account_has_just_come_into_is_read_from_the_place_in_the_stream() {
        let (me, room) = (UserId::parse(ME).unwrap(), RoomId::parse("!a:x.org").unwrap());
        let events = vec![said("$old"), own("join", Some("leave")), said("$new")];
        let mut part = RoomPart::default();
        (part.timeline.events, part.timeline.limited) = (events, true);

        let heard = heard(&me, room, part);

        assert!(heard.has_gap && heard.is_changed && heard.events.is_empty(), "{heard:?}");
        assert_eq!(ids(&heard.unless_read), ["$new"]);
    }
}
