//! Direct rooms: made, filled by invitation, and listed in the account's data.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Value, json};

use super::{Answer, BOT, Fault, Homeserver, Room, World};

/// What the homeserver knows of people and of the bot's rooms with them.
#[derive(Default)]
pub(super) struct Direct {
    list: Option<Value>,
    create_limit_ms: Option<u64>,
    /// By transaction id, as Synapse remembers them.
    made: HashMap<String, String>,
    is_forgetful: bool,
    encrypts_new_rooms: bool,
    without_account: HashSet<String>,
    creation_faults: VecDeque<Fault>,
    /// By person.
    invitation_faults: HashMap<String, Fault>,
}

impl Homeserver {
    /// The ids of the rooms that were made through `createRoom`.
    pub fn rooms_made(&self) -> Vec<String> {
        self.shared.world().rooms.keys().filter(|id| id.starts_with("!made")).cloned().collect()
    }

    /// The bot's `m.direct`, if it has any.
    pub fn direct(&self) -> Option<Value> {
        self.shared.world().direct.list.clone()
    }

    pub fn set_direct(&self, list: Value) {
        self.shared.world().direct.list = Some(list);
    }

    /// The next room that is to be made answers 429 with this pause.
    pub fn limit_next_room(&self, retry_after_ms: u64) {
        self.shared.world().direct.create_limit_ms = Some(retry_after_ms);
    }

    /// Knows `createRoom` without a transaction id only, as the specification has it and Synapse has not.
    pub fn forget_creations(&self) {
        self.shared.world().direct.is_forgetful = true;
    }

    /// Every new room is encrypted, as Synapse's `encryption_enabled_by_default_for_room_type` does.
    pub fn encrypt_new_rooms(&self) {
        self.shared.world().direct.encrypts_new_rooms = true;
    }

    /// Nobody has an account of this name.
    pub fn without_account(&self, person: &str) {
        self.shared.world().direct.without_account.insert(person.to_owned());
    }

    /// The next room that is to be made meets `fault`.
    pub fn fail_creation(&self, fault: Fault) {
        self.shared.world().direct.creation_faults.push_back(fault);
    }

    /// Every invitation of `person` meets `fault`, until there is none.
    pub fn fail_invitations(&self, person: &str, fault: Option<Fault>) {
        let faults = &mut self.shared.world().direct.invitation_faults;
        match fault {
            Some(fault) => drop(faults.insert(person.to_owned(), fault)),
            None => drop(faults.remove(person)),
        }
    }

    /// The rooms that `person` is in or invited to.
    pub fn rooms_of(&self, person: &str) -> Vec<String> {
        let world = self.shared.world();
        let is_in = |room: &Room| matches!(room.member(person), Some("join" | "invite"));
        world.rooms.iter().filter(|(_, room)| is_in(room)).map(|(id, _)| id.clone()).collect()
    }
}

impl Direct {
    pub(super) fn take_fault(&mut self, method: &str, path: &[&str]) -> Option<Fault> {
        match (method, path) {
            (_, ["createRoom", ..]) => self.creation_faults.pop_front(),
            ("PUT", ["rooms", _, "state", "m.room.member", person]) => self.invitation_faults.get(*person).cloned(),
            _ => None,
        }
    }
}

/// The answer to a call that is about direct rooms.
pub(super) fn handle(world: &mut World, method: &str, path: &[&str], body: &Value) -> Option<Answer> {
    let not_found = || Answer::refused(404, "M_NOT_FOUND", "Not found");
    Some(match (method, path) {
        ("PUT", ["createRoom", txn_id]) if !world.direct.is_forgetful => match world.direct.made.get(*txn_id) {
            Some(room) => Answer::ok(json!({ "room_id": room })),
            None => {
                let answer = create(world);
                if let Some(room) = answer.body["room_id"].as_str() {
                    world.direct.made.insert((*txn_id).to_owned(), room.to_owned());
                }
                answer
            }
        },
        ("POST", ["createRoom"]) => create(world),
        ("PUT", ["rooms", room, "state", "m.room.member", person]) => match world.rooms.get_mut(*room) {
            Some(room) => room.invite(person, body),
            None => Answer::refused(403, "M_FORBIDDEN", "not in room"),
        },
        ("GET", ["profile", person]) if world.direct.without_account.contains(*person) => {
            Answer::refused(404, "M_UNKNOWN", "No row found (profiles)")
        }
        ("GET", ["profile", _]) => Answer::ok(json!({ "displayname": "Somebody" })),
        ("GET", ["user", _, "account_data", "m.direct"]) => {
            world.direct.list.clone().map_or_else(not_found, Answer::ok)
        }
        ("PUT", ["user", _, "account_data", "m.direct"]) => {
            world.direct.list = Some(body.clone());
            Answer::ok(json!({}))
        }
        _ => return None,
    })
}

fn create(world: &mut World) -> Answer {
    if let Some(pause) = world.direct.create_limit_ms.take() {
        return Answer::limited(pause);
    }
    let id = format!("!made{}:double.test", world.rooms.len());
    let room = Room { creator: Some(BOT.to_owned()), is_encrypted: world.direct.encrypts_new_rooms, ..Room::default() };
    world.rooms.insert(id.clone(), room);
    Answer::ok(json!({ "room_id": id }))
}

impl Room {
    fn invite(&mut self, person: &str, content: &Value) -> Answer {
        if *content != json!({ "membership": "invite", "is_direct": true }) {
            return Answer::refused(400, "M_BAD_JSON", "not an invitation to a direct room");
        }
        match self.member(person) {
            Some("join") => Answer::refused(403, "M_FORBIDDEN", "already in the room"),
            Some("ban") => Answer::refused(403, "M_FORBIDDEN", "banned from the room"),
            _ if self.is_mute() => Answer::refused(403, "M_FORBIDDEN", "You don't have permission to invite users"),
            _ => {
                self.others.retain(|(other, _)| other != person);
                self.others.push((person.to_owned(), "invite"));
                Answer::ok(json!({ "event_id": "$invitation" }))
            }
        }
    }
}
