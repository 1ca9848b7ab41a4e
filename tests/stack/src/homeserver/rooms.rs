//! Rooms with rules: who is in them, who may post, what replaced them.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Answer, BOT};

/// The bot's membership and rights in a room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Room {
    pub membership: Membership,
    /// The bot's power level is below what messages need.
    pub is_muted: bool,
    /// The room that replaced this one.
    pub tombstone: Option<String>,
    /// The account may post in the room although it was replaced.
    pub is_open_after_tombstone: bool,
    /// The room that this one replaced.
    pub predecessor: Option<String>,
    /// Who invited the bot.
    pub invited_by: Option<String>,
    /// Who made it, in room version 12; `None`: somebody, in version 11.
    pub creator: Option<String>,
    /// Besides the bot.
    pub members: Vec<String>,
    /// Others who are not in it: invited, left or banned, in Matrix' words.
    pub others: Vec<(String, &'static str)>,
    pub is_public: bool,
    /// Whoever is in the room that this one replaced may join.
    pub is_open_to_members: bool,
    /// Whoever is in a certain other room may join.
    pub is_open_to_others: bool,
    /// The account came in without an invitation, because the room was open to members.
    pub was_joined_by_rule: bool,
    pub is_encrypted: bool,
    /// The next attempt to join answers 429 with this pause.
    pub join_limit_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    #[default]
    Joined,
    Invited,
    Left,
    Banned,
}

impl Room {
    /// As Synapse answers a PUT of somebody who may not: six causes, one errcode.
    pub(super) fn refuses_message(&self) -> Option<Answer> {
        let forbidden = |text: &str| Some(Answer::refused(403, "M_FORBIDDEN", text));
        match self.membership {
            Membership::Joined if self.is_mute() || self.is_closed_by_tombstone() => {
                forbidden("You don't have permission to post that to the room.")
            }
            Membership::Joined => None,
            Membership::Invited | Membership::Left | Membership::Banned => {
                forbidden(&format!("User {BOT} not in room"))
            }
        }
    }

    fn is_closed_by_tombstone(&self) -> bool {
        self.tombstone.is_some() && !self.is_open_after_tombstone
    }

    /// In room version 12 creators are above all levels.
    pub(super) fn is_mute(&self) -> bool {
        self.is_muted && self.creator.as_deref() != Some(BOT)
    }

    /// The membership of `user` in the room, in Matrix' words.
    pub(super) fn member(&self, user: &str) -> Option<&'static str> {
        let other = self.others.iter().find(|(other, _)| other == user).map(|(_, membership)| *membership);
        other.or_else(|| self.members.iter().any(|member| member == user).then_some("join"))
    }

    /// `GET …/state/m.room.member/{user}`, as long as the account is in the room.
    pub(super) fn member_content(&self, user: &str) -> Option<Value> {
        if user == BOT && self.was_joined_by_rule {
            return Some(json!({ "membership": "join", "join_authorised_via_users_server": "@admin:double.test" }));
        }
        self.member(user).map(|membership| json!({ "membership": membership }))
    }

    /// `GET …/state/m.room.create?format=event`.
    pub(super) fn creation(&self) -> Value {
        let sender = self.creator.as_deref().unwrap_or("@admin:double.test");
        json!({ "type": "m.room.create", "state_key": "", "sender": sender, "content": self.state("m.room.create") })
    }

    /// `GET …/state/{type}` for somebody in the room.
    pub(super) fn state(&self, event_type: &str) -> Option<Value> {
        match event_type {
            "m.room.tombstone" => {
                self.tombstone.as_ref().map(|room| json!({ "replacement_room": room, "body": "replaced" }))
            }
            "m.room.create" => {
                let mut content = json!({ "room_version": if self.creator.is_some() { "12" } else { "11" } });
                if let Some(room) = &self.predecessor {
                    content["predecessor"] = json!({ "room_id": room, "event_id": "$last" });
                }
                Some(content)
            }
            "m.room.power_levels" => {
                let needed = if self.is_muted { 50 } else { 0 };
                Some(json!({ "events_default": needed, "users_default": 0, "users": {}, "events": {} }))
            }
            "m.room.join_rules" if self.is_open_to_members || self.is_open_to_others => {
                let members = |room: &str| json!({ "type": "m.room_membership", "room_id": room });
                let of_old = self.predecessor.as_deref().filter(|_| self.is_open_to_members).map(members);
                let of_other = self.is_open_to_others.then(|| members("!another:double.test"));
                Some(
                    json!({ "join_rule": "restricted", "allow": of_old.into_iter().chain(of_other).collect::<Vec<_>>() }),
                )
            }
            "m.room.join_rules" => Some(json!({ "join_rule": if self.is_public { "public" } else { "invite" } })),
            "m.room.encryption" => self.is_encrypted.then(|| json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
            _ => None,
        }
    }
}

/// `GET /sync` without a since-token, as far as memberships go.
pub(super) fn sync(rooms: &HashMap<String, Room>) -> Value {
    let mut answer = json!({ "next_batch": "s1", "rooms": { "join": {}, "invite": {}, "leave": {} } });
    for (id, room) in rooms {
        let member = |membership: &str, sender: &str| json!({ "type": "m.room.member", "state_key": BOT, "sender": sender, "content": { "membership": membership } });
        let admin = "@admin:double.test";
        let (part, content) = match room.membership {
            Membership::Joined => ("join", json!({})),
            Membership::Invited => {
                let mut events = vec![member("invite", room.invited_by.as_deref().unwrap_or(admin))];
                if let Some(encryption) = room.state("m.room.encryption") {
                    events.push(
                        json!({ "type": "m.room.encryption", "state_key": "", "sender": admin, "content": encryption }),
                    );
                }
                ("invite", json!({ "invite_state": { "events": events } }))
            }
            Membership::Left => ("leave", json!({ "timeline": { "events": [member("leave", admin)] } })),
            Membership::Banned => ("leave", json!({ "timeline": { "events": [member("ban", admin)] } })),
        };
        answer["rooms"][part][id] = content;
    }
    answer
}

/// `POST …/join`.
pub(super) fn join(rooms: &mut HashMap<String, Room>, id: &str) -> Answer {
    let Some(room) = rooms.get_mut(id) else { return Answer::refused(404, "M_NOT_FOUND", "No known servers") };
    if let Some(pause) = room.join_limit_ms.take() {
        return Answer::limited(pause);
    }
    match room.membership {
        Membership::Banned => Answer::refused(403, "M_BAD_STATE", "You are banned from this room"),
        Membership::Left if !room.is_public && !room.is_open_to_members => {
            Answer::refused(403, "M_FORBIDDEN", "You are not invited to this room.")
        }
        before => {
            room.was_joined_by_rule = before == Membership::Left && room.is_open_to_members;
            room.membership = Membership::Joined;
            Answer::ok(json!({ "room_id": id }))
        }
    }
}
