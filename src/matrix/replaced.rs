//! Rooms that replaced one another, as by upgrades.

use std::collections::HashMap;

use super::{
    answer::Event,
    sync::{Heard, TOMBSTONE},
};
use crate::message::RoomId;

/// Rooms may replace one another in a circle.
const LONGEST_CHAIN: usize = 20;

/// The same rooms, each after those that it replaced: what is written in it is for their record, so Odoo has to hear first what they say
/// about it.
pub(super) fn sorted(rooms: Vec<Heard>) -> Vec<Heard> {
    let places: HashMap<_, _> = rooms.iter().enumerate().map(|(at, heard)| (&heard.room, at)).collect();
    let successors = |(at, heard): (usize, &Heard)| {
        let news = heard.successors.iter().filter_map(|new| places.get(new));
        news.map(|new| (at, *new)).collect::<Vec<_>>()
    };
    let links: Vec<_> = rooms.iter().enumerate().flat_map(successors).filter(|(old, new)| old != new).collect();
    // How many rooms each is away from the one where its chain begins.
    let mut steps = vec![0; rooms.len()];
    for _ in 0..LONGEST_CHAIN {
        for &(old, new) in &links {
            steps[new] = steps[new].max(steps[old] + 1);
        }
    }
    let mut rooms: Vec<_> = steps.into_iter().zip(rooms).collect();
    rooms.sort_by_key(|(steps, _)| *steps);
    rooms.into_iter().map(|(_, heard)| heard).collect()
}

/// The rooms that replaced the one with these events.
pub(super) fn successors<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<RoomId> {
    let tombstones = events.into_iter().filter(|event| event.kind == TOMBSTONE);
    tombstones.filter_map(|event| RoomId::parse(event.text("replacement_room")?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        matrix::{answer::RoomPart, sync::heard},
        message::UserId,
    };

    fn event(kind: &str, content: &Value) -> Value {
        json!({ "type": kind, "event_id": "$x", "sender": "@anna:x", "content": content })
    }

    fn said() -> Value {
        json!({ "timeline": { "events": [event("m.room.message", &json!({}))] } })
    }

    fn replaced(by: &str) -> Value {
        event(TOMBSTONE, &json!({ "replacement_room": by }))
    }

    fn order(rooms: &[(&str, Value)]) -> Vec<String> {
        let me = UserId::parse("@odoo:x").unwrap();
        let part = |part: &Value| serde_json::from_str::<RoomPart>(&part.to_string()).unwrap();
        let rooms = rooms.iter().map(|(room, value)| heard(&me, RoomId::parse(room).unwrap(), part(value)));
        super::sorted(rooms.collect()).iter().map(|heard| heard.room.as_str().to_owned()).collect()
    }

    /// The name of a room does not say which one was there first.
    #[test]
    fn each_room_comes_after_those_that_it_replaced() {
        let gone = |by: &str| json!({ "timeline": { "events": [replaced(by)] } });
        // So many people have left it since that the answer begins after it was replaced.
        let long_gone = |by: &str| json!({ "state": { "events": [replaced(by)] }, "timeline": { "limited": true } });
        for third in [gone("!d:x"), long_gone("!d:x")] {
            let rooms =
                [("!a:x", said()), ("!b:x", third), ("!c:x", gone("!b:x")), ("!d:x", said()), ("!e:x", gone("!c:x"))];
            assert_eq!(order(&rooms), ["!a:x", "!e:x", "!c:x", "!b:x", "!d:x"]);
        }
    }

    #[test]
    fn rooms_in_a_circle_and_rooms_that_name_no_room_keep_nothing_up() {
        let by = |room: &str| json!({ "timeline": { "events": [replaced(room)] } });

        let rooms = [("!a:x", by("!b:x")), ("!b:x", by("!a:x")), ("!c:x", by("!c:x")), ("!d:x", by("nonsense"))];

        let mut seen = order(&rooms);
        seen.sort_unstable();
        assert_eq!(seen, ["!a:x", "!b:x", "!c:x", "!d:x"]);
    }
}
