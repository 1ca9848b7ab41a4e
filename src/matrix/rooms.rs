//! Rooms: who is in them, what replaced them, and how to join.

mod threads;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, json};

use super::{
    Homeserver, SendError,
    answer::{Messages, Rooms, lenient, or_default},
};
use crate::message::{EventId, RoomId, UserId};

/// This account's membership in a room, as far as the homeserver shows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Membership {
    Joined,
    /// Invited by this person, if the homeserver says by whom. It shows a part of the room's state, too.
    Invited {
        by: Option<UserId>,
        is_encrypted: bool,
    },
    Banned,
    /// Never in it, left, or removed.
    Outside,
}

/// The event `m.room.create` of a room.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Creation {
    /// Who made the room; `None` where the homeserver does not say.
    #[serde(skip)]
    pub sender: Option<UserId>,
    #[serde(deserialize_with = "lenient")]
    pub room_version: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub additional_creators: Option<Vec<Value>>,
    #[serde(deserialize_with = "lenient")]
    pub predecessor: Option<Predecessor>,
}

/// The room that another one replaces.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Predecessor {
    #[serde(default, deserialize_with = "lenient")]
    pub room_id: Option<String>,
}

/// The content of `m.room.tombstone`: the room was replaced.
#[derive(Clone, Debug, Deserialize)]
pub struct Tombstone {
    #[serde(default, deserialize_with = "lenient")]
    replacement_room: Option<String>,
}

impl Tombstone {
    /// The new room, if the event names one.
    pub fn replacement(&self) -> Option<RoomId> {
        RoomId::parse(self.replacement_room.as_deref()?).ok()
    }
}

/// The content of `m.room.join_rules`: who may join the room.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct JoinRules {
    #[serde(deserialize_with = "lenient")]
    join_rule: Option<String>,
    #[serde(deserialize_with = "lenient")]
    allow: Option<Vec<Allowed>>,
}

/// Whoever is in this room may join.
#[derive(Clone, Debug, Deserialize)]
struct Allowed {
    #[serde(default, deserialize_with = "lenient")]
    room_id: Option<String>,
}

impl JoinRules {
    /// Whether anybody may join.
    pub fn is_public(&self) -> bool {
        self.join_rule.as_deref() == Some("public")
    }

    /// Whether nobody may join without an invitation.
    pub fn need_invitation(&self) -> bool {
        matches!(self.join_rule.as_deref(), None | Some("invite" | "knock" | "private"))
    }

    /// Whether the members of `room`, and nobody else, may join without an invitation.
    pub fn admit_members_of(&self, room: &RoomId) -> bool {
        let allowed = self.allow.as_deref().unwrap_or_default();
        matches!(self.join_rule.as_deref(), Some("restricted" | "knock_restricted"))
            && !allowed.is_empty()
            && allowed.iter().all(|one| one.room_id.as_deref() == Some(room.as_str()))
    }
}

impl Homeserver {
    /// `GET /joined_rooms`.
    pub async fn joined_rooms(&self) -> Result<Vec<RoomId>, SendError> {
        #[derive(Deserialize)]
        struct Joined {
            joined_rooms: Vec<String>,
        }
        let Joined { joined_rooms } = self.call(Method::GET, &["joined_rooms"], &[], None).await?;
        Ok(joined_rooms.iter().filter_map(|room| RoomId::parse(room).ok()).collect())
    }

    /// This account's membership in `room`: one `GET /sync` that asks for nothing else.
    pub async fn membership(&self, me: &UserId, room: &RoomId) -> Result<Membership, SendError> {
        let nothing = json!({ "types": [] });
        // Synapse answers the same first sync from its cache for two minutes: an invitation of now would not be seen. So no
        // two looks are the same; the name in the filter excludes nothing, as no presence is asked for.
        let look = format!("@look-{:016x}:look.invalid", fastrand::u64(..));
        let filter = json!({
            "presence": { "types": [], "not_senders": [look] },
            "account_data": nothing,
            "room": {
                "rooms": [room.as_str()],
                "include_leave": true,
                "ephemeral": nothing,
                "account_data": nothing,
                "state": { "types": ["m.room.member"] },
                "timeline": { "types": ["m.room.member"], "limit": 10 },
            },
        })
        .to_string();
        #[derive(Deserialize)]
        struct Memberships {
            #[serde(default, deserialize_with = "or_default")]
            rooms: Rooms,
        }
        let query = [("timeout", "0"), ("filter", &*filter)];
        let answer = self.call(Method::GET, &["sync"], &query, None).await;
        if answer.as_ref().is_err_and(SendError::is_forbidden) {
            // To an application service that may not act as the account everything is forbidden, which says nothing about this room.
            self.whoami().await?;
        }
        let Memberships { rooms } = answer?;
        Ok(read_membership(rooms, me, room))
    }

    /// `POST /rooms/{roomId}/join`.
    pub async fn join(&self, room: &RoomId) -> Result<(), SendError> {
        self.post_nothing(&["rooms", room.as_str(), "join"]).await
    }

    /// `POST /join/{roomId}`, by way of servers that may know the room.
    pub async fn join_via(&self, room: &RoomId, servers: &BTreeSet<String>) -> Result<(), SendError> {
        // Older homeservers know only the second name.
        let names = ["via", "server_name"];
        let query: Vec<_> = servers.iter().flat_map(|server| names.map(|name| (name, server.as_str()))).collect();
        let path = ["join", room.as_str()];
        self.call::<IgnoredAny>(Method::POST, &path, &query, Some("{}".to_owned())).await.map(drop)
    }

    /// `POST /rooms/{roomId}/leave`.
    pub async fn leave(&self, room: &RoomId) -> Result<(), SendError> {
        self.post_nothing(&["rooms", room.as_str(), "leave"]).await
    }

    async fn post_nothing(&self, path: &[&str]) -> Result<(), SendError> {
        self.call::<IgnoredAny>(Method::POST, path, &[], Some("{}".to_owned())).await.map(drop)
    }

    /// The content of a room's state event, which may be any JSON object; `None` when there is none.
    pub async fn state(&self, room: &RoomId, event_type: &str) -> Result<Option<Value>, SendError> {
        self.state_as(room, event_type).await
    }

    pub async fn is_encrypted(&self, room: &RoomId) -> Result<bool, SendError> {
        Ok(self.state_as::<IgnoredAny>(room, "m.room.encryption").await?.is_some())
    }

    /// The room's `m.room.tombstone`, if it was replaced.
    pub async fn tombstone(&self, room: &RoomId) -> Result<Option<Tombstone>, SendError> {
        self.state_as(room, "m.room.tombstone").await
    }

    /// Who has replaced the room; `None` if nobody has, or the homeserver does not say.
    pub async fn replaced_by(&self, room: &RoomId) -> Result<Option<UserId>, SendError> {
        #[derive(Deserialize)]
        struct Event {
            #[serde(default, deserialize_with = "lenient")]
            sender: Option<String>,
        }
        let path = ["rooms", room.as_str(), "state", "m.room.tombstone", ""];
        let event: Option<Event> =
            none_if_not_found(self.call(Method::GET, &path, &[("format", "event")], None).await)?;
        Ok(event.and_then(|event| UserId::parse(&event.sender?).ok()))
    }

    /// Who may join the room.
    pub async fn join_rules(&self, room: &RoomId) -> Result<JoinRules, SendError> {
        Ok(self.state_as(room, "m.room.join_rules").await?.unwrap_or_default())
    }

    async fn state_as<T: DeserializeOwned>(&self, room: &RoomId, event_type: &str) -> Result<Option<T>, SendError> {
        let path = ["rooms", room.as_str(), "state", event_type, ""];
        none_if_not_found(self.call(Method::GET, &path, &[], None).await)
    }

    /// The room's `m.room.create`.
    pub async fn creation(&self, room: &RoomId) -> Result<Creation, SendError> {
        let path = ["rooms", room.as_str(), "state", "m.room.create", ""];
        let answer = self.call::<CreationAnswer>(Method::GET, &path, &[("format", "event")], None).await;
        Ok(none_if_not_found(answer)?.map(CreationAnswer::creation).unwrap_or_default())
    }

    /// Whether `user` is in `room` or invited to it.
    pub async fn has_member(&self, room: &RoomId, user: &UserId) -> Result<bool, SendError> {
        Ok(matches!(self.membership_of(room, user).await?.as_deref(), Some("join" | "invite")))
    }

    /// Whether `user` came into `room` uninvited, because its rule lets in the members of another room.
    pub async fn has_joined_by_rule(&self, room: &RoomId, user: &UserId) -> Result<bool, SendError> {
        #[derive(Deserialize)]
        struct Member {
            #[serde(default, deserialize_with = "lenient")]
            join_authorised_via_users_server: Option<String>,
        }
        let path = ["rooms", room.as_str(), "state", "m.room.member", user.as_str()];
        let member: Option<Member> = none_if_not_found(self.call(Method::GET, &path, &[], None).await)?;
        Ok(member.is_some_and(|member| member.join_authorised_via_users_server.is_some()))
    }

    /// The markers of Odoo's messages among the last hundred events of a room, with the event that carries each.
    pub async fn recent_markers(&self, room: &RoomId) -> Result<BTreeMap<String, EventId>, SendError> {
        let path = ["rooms", room.as_str(), "messages"];
        let page: Messages = self.call(Method::GET, &path, &[("dir", "b"), ("limit", "100")], None).await?;
        let marked = page.chunk.into_iter().filter_map(|event| {
            let marker = event.text("org.odoo.outbox")?.to_owned();
            Some((marker, EventId::new(event.event_id?)))
        });
        Ok(marked.collect())
    }
}

pub(super) fn none_if_not_found<T>(answer: Result<T, SendError>) -> Result<Option<T>, SendError> {
    match answer {
        Ok(content) => Ok(Some(content)),
        Err(SendError::Refused { status: 404, errcode, .. }) if errcode == "M_NOT_FOUND" => Ok(None),
        Err(error) => Err(error),
    }
}

/// The event, or its content alone from a homeserver that does not know the parameter `format`.
#[derive(Deserialize)]
struct CreationAnswer {
    #[serde(default, deserialize_with = "lenient")]
    sender: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    content: Option<Creation>,
    #[serde(flatten)]
    alone: Creation,
}

impl CreationAnswer {
    fn creation(self) -> Creation {
        match (self.sender, self.content) {
            (Some(sender), Some(content)) => Creation { sender: UserId::parse(&sender).ok(), ..content },
            _ => self.alone,
        }
    }
}

fn read_membership(mut rooms: Rooms, me: &UserId, room: &RoomId) -> Membership {
    if rooms.join.contains_key(room.as_str()) {
        return Membership::Joined;
    }
    if let Some(invite) = rooms.invite.remove(room.as_str()) {
        let state = invite.invite_state.events;
        let mine = state.iter().find(|event| event.is_membership_of(me.as_str()));
        return Membership::Invited {
            by: mine.and_then(|event| UserId::parse(event.sender.as_deref()?).ok()),
            is_encrypted: state.iter().any(|event| event.kind == "m.room.encryption"),
        };
    }
    let left = rooms.leave.remove(room.as_str()).unwrap_or_default();
    let mut events = left.state.events.iter().chain(&left.timeline.events);
    let last = events.rfind(|event| event.is_membership_of(me.as_str()));
    if last.and_then(|event| event.text("membership")) == Some("ban") {
        Membership::Banned
    } else {
        Membership::Outside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_room_says_about_its_creation_is_read_as_far_as_it_can_be() {
        let read = |answer: Value| serde_json::from_value::<CreationAnswer>(answer).unwrap().creation();

        let whole = read(json!({ "sender": "@ann:x", "content": { "room_version": "12" }, "room_version": "1" }));
        assert_eq!((whole.sender, whole.room_version.as_deref()), (UserId::parse("@ann:x").ok(), Some("12")));
        let alone =
            read(json!({ "creator": "@ann:x", "room_version": 12, "predecessor": "!old", "additional_creators": {} }));
        assert_eq!(alone, Creation::default());
        let predecessor = read(json!({ "predecessor": { "room_id": "!old", "event_id": 7 } })).predecessor.unwrap();
        assert_eq!(predecessor.room_id.as_deref(), Some("!old"));
    }

    #[test]
    fn a_membership_is_read_from_any_answer() {
        let (me, room) = (UserId::parse("@bot:x").unwrap(), RoomId::parse("!a:x").unwrap());
        let member = |membership: &str, sender: Value| json!({ "type": "m.room.member", "state_key": "@bot:x", "sender": sender, "content": { "membership": membership } });
        let read = |rooms: Value| read_membership(serde_json::from_value(rooms).unwrap(), &me, &room);

        assert_eq!(read(json!({})), Membership::Outside);
        assert_eq!(read(json!({ "join": null, "leave": { "!a:x": {} } })), Membership::Outside);
        assert_eq!(read(json!({ "join": { "!a:x": { "timeline": null } } })), Membership::Joined);
        let invite = |state: Value| read(json!({ "invite": { "!a:x": { "invite_state": { "events": state } } } }));
        let by = UserId::parse("@ann:x").ok();
        let encryption = json!({ "type": "m.room.encryption", "content": 7 });
        assert_eq!(
            invite(json!([member("invite", json!("@ann:x"))])),
            Membership::Invited { by: by.clone(), is_encrypted: false }
        );
        assert_eq!(
            invite(json!([7, encryption, member("invite", json!("@ann:x"))])),
            Membership::Invited { by, is_encrypted: true }
        );
        for nobody in [json!(""), json!(7), json!(null)] {
            let invited = invite(json!([member("invite", nobody)]));
            assert_eq!(invited, Membership::Invited { by: None, is_encrypted: false });
        }
        let left = json!({ "state": { "events": [member("leave", json!("@bot:x"))] }, "timeline": { "events": [member("ban", json!("@ann:x"))] } });
        assert_eq!(read(json!({ "leave": { "!a:x": left } })), Membership::Banned);
    }
}
