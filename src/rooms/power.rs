//! Who may post in a room: `m.room.power_levels`, read by the rules of the room's version.

use serde_json::Value;

use crate::{matrix::Creation, message::UserId};

/// Whether a person may send messages of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    Allowed,
    Denied {
        has: i64,
        needs: i64,
    },
    /// The levels cannot be read, or the homeserver does not say who made the room.
    Unclear,
}

/// Client-server API, section `m.room.power_levels`: the person's own level, else the default, else 0. From room version 12 on
/// the creators are above all levels.
pub(super) fn speech(levels: Option<&Value>, creation: &Creation, user: &UserId, matrix_type: &str) -> Speech {
    let Some(levels) = levels else {
        // Without the event nobody needs any level to send a message.
        return Speech::Allowed;
    };
    if has_privileged_creators(creation) && is_creator(creation, user) == Some(true) {
        return Speech::Allowed;
    }
    let has = own_or_default(levels, "users", user.as_str(), "users_default");
    let needs = own_or_default(levels, "events", matrix_type, "events_default");
    match (has, needs) {
        (Some(has), Some(needs)) if has >= needs => Speech::Allowed,
        (Some(_), Some(_)) if has_privileged_creators(creation) && is_creator(creation, user).is_none() => {
            Speech::Unclear
        }
        (Some(has), Some(needs)) => Speech::Denied { has, needs },
        _ => Speech::Unclear,
    }
}

/// `None`: the value cannot be read as a level.
fn own_or_default(levels: &Value, table: &str, key: &str, default: &str) -> Option<i64> {
    let levels = levels.as_object()?;
    let own = match levels.get(table) {
        None | Some(Value::Null) => None,
        Some(table) => table.as_object()?.get(key),
    };
    own.filter(|own| !own.is_null()).or_else(|| levels.get(default)).map_or(Some(0), level)
}

/// Rooms of old versions may hold a level as text or with a fraction.
fn level(value: &Value) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn has_privileged_creators(creation: &Creation) -> bool {
    let version = creation.room_version.as_deref().unwrap_or("1");
    version == "org.matrix.hydra.11" || version.parse().is_ok_and(|version: u32| version >= 12)
}

/// `None`: the homeserver does not say who sent the event.
fn is_creator(creation: &Creation, user: &UserId) -> Option<bool> {
    if creation.additional_creators.iter().flatten().any(|creator| creator.as_str() == Some(user.as_str())) {
        return Some(true);
    }
    creation.sender.as_ref().map(|sender| sender == user)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOT: &str = "@bot:x";

    fn judged(levels: Value, create: Value, sender: Option<&str>) -> Speech {
        let user = |id| UserId::parse(id).unwrap();
        let creation = Creation { sender: sender.map(user), ..serde_json::from_value(create).unwrap() };
        speech(Some(&levels), &creation, &user(BOT), "m.room.message")
    }

    #[test]
    fn creators_of_rooms_from_version_12_on_have_all_power() {
        let levels = json!({ "events_default": 50 });
        let denied = Speech::Denied { has: 0, needs: 50 };

        for (version, sender, additional, wanted) in [
            ("12", Some(BOT), json!([]), Speech::Allowed),
            ("13", Some(BOT), json!(null), Speech::Allowed),
            ("org.matrix.hydra.11", Some(BOT), json!([]), Speech::Allowed),
            ("12", Some("@jane:x"), json!(["@joe:x", BOT]), Speech::Allowed),
            ("12", None, json!([BOT]), Speech::Allowed),
            ("12", Some("@jane:x"), json!(["@joe:x"]), denied),
            ("12", Some("@jane:x"), json!(BOT), denied),
            ("12", None, json!([]), Speech::Unclear),
            ("11", Some(BOT), json!([]), denied),
            ("11", Some("@jane:x"), json!([BOT]), denied),
            ("11", None, json!([]), denied),
        ] {
            let create = json!({ "room_version": version, "additional_creators": additional });
            assert_eq!(judged(levels.clone(), create.clone(), sender), wanted, "{create} by {sender:?}");
        }
    }

    #[test]
    fn a_level_is_the_own_one_else_the_default_else_none() {
        for (levels, wanted) in [
            (json!({}), Speech::Allowed),
            (json!({ "events_default": 10, "users_default": 10 }), Speech::Allowed),
            (
                json!({ "events_default": 10, "users_default": 10, "users": { BOT: 5 } }),
                Speech::Denied { has: 5, needs: 10 },
            ),
            (json!({ "events_default": 10, "events": { "m.room.message": 0 } }), Speech::Allowed),
            (json!({ "events": { "m.room.message": 1 } }), Speech::Denied { has: 0, needs: 1 }),
            (json!({ "users_default": -1 }), Speech::Denied { has: -1, needs: 0 }),
        ] {
            assert_eq!(judged(levels.clone(), json!({}), Some("@jane:x")), wanted, "{levels}");
        }
    }

    #[test]
    fn levels_of_any_shape_are_read_or_reported_as_unclear() {
        for (levels, wanted) in [
            (json!({ "events_default": "50", "users": { BOT: " 50 " } }), Speech::Allowed),
            (json!({ "events_default": 50.0, "users": { BOT: 50.9 } }), Speech::Allowed),
            (
                json!({ "events_default": 50, "users": null, "users_default": null }),
                Speech::Denied { has: 0, needs: 50 },
            ),
            (json!({ "events_default": 50, "users": { BOT: null } }), Speech::Denied { has: 0, needs: 50 }),
            (json!({ "events_default": u64::MAX }), Speech::Denied { has: 0, needs: i64::MAX }),
            (json!({ "events_default": 50, "users": [BOT, 100] }), Speech::Unclear),
            (json!({ "events_default": [50] }), Speech::Unclear),
            (json!({ "events_default": "many" }), Speech::Unclear),
            (json!([]), Speech::Unclear),
            (json!(null), Speech::Unclear),
        ] {
            assert_eq!(judged(levels.clone(), json!({ "room_version": 12 }), Some("@jane:x")), wanted, "{levels}");
        }
    }
}
