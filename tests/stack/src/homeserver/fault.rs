//! What can be made to go wrong.

use std::time::Duration;

use serde_json::Value;

use super::{Homeserver, World};

/// How a call fails. "Accepted" faults happen after the homeserver has stored the event.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A Matrix error.
    Refuse { status: u16, errcode: &'static str },
    /// An answer with this body.
    Json { status: u16, body: Value },
    /// 429 with this pause in the body.
    Limit { retry_after_ms: u64 },
    /// The connection is reset before anything was done.
    Reset,
    /// The event is stored, then the connection is reset.
    ResetAccepted,
    /// The event is stored, the answer breaks off in the middle.
    CutAccepted,
    /// Nothing is done and nothing is answered.
    Silence,
    /// The event is stored and nothing is answered.
    SilenceAccepted,
    /// The event is stored and the answer comes one byte at a time, each after this pause.
    SlowAccepted(Duration),
    /// A page that is not JSON.
    Page { status: u16 },
    /// A redirect to another host.
    Redirect,
}

impl Homeserver {
    /// The next `times` calls meet `fault`.
    pub fn fail_next(&self, times: usize, fault: Fault) {
        self.shared.world().faults.extend(std::iter::repeat_n((None, fault), times));
    }

    /// The next `times` calls for `room` meet `fault`.
    pub fn fail_room(&self, room: &str, times: usize, fault: Fault) {
        self.shared.world().faults.extend(std::iter::repeat_n((Some(room.to_owned()), fault), times));
    }

    /// Every call meets `fault`, until [`Homeserver::heal`].
    pub fn fail_always(&self, fault: Fault) {
        self.shared.world().standing_fault = Some(fault);
    }

    /// Every message meets `fault` while all other calls are answered, until [`Homeserver::heal`].
    pub fn fail_sends(&self, fault: Fault) {
        self.shared.world().send_fault = Some(fault);
    }

    /// Every call for one of `rooms` meets `fault` while all others are answered, until [`Homeserver::heal`].
    pub fn fail_shard(&self, rooms: &[&str], fault: Fault) {
        self.shared.world().shard = Some((rooms.iter().map(|room| (*room).to_owned()).collect(), fault));
    }

    /// The message with this body meets `fault` whenever it is sent, until [`Homeserver::heal`].
    pub fn poison(&self, body: &str, fault: Fault) {
        self.shared.world().poison.insert(body.to_owned(), fault);
    }

    /// Every look into a room before something is sent there fails.
    pub fn fail_looks(&self, fault: Fault) {
        self.shared.world().look_fault = Some(fault);
    }

    /// No more faults.
    pub fn heal(&self) {
        let mut world = self.shared.world();
        world.faults.clear();
        world.standing_fault = None;
        world.send_fault = None;
        world.shard = None;
        world.look_fault = None;
        world.poison.clear();
        world.limit = None;
    }
}

impl World {
    /// The fault that a call meets, if any. `sent` is the body of the message that it sends.
    pub(super) fn take_fault(&mut self, room: Option<&str>, sent: Option<&str>) -> Option<Fault> {
        let at = self.faults.iter().position(|(only, _)| only.is_none() || only.as_deref() == room);
        let next = at.and_then(|at| self.faults.remove(at)).map(|(_, fault)| fault);
        let of_message = || sent.and_then(|body| self.poison.get(body).or(self.send_fault.as_ref()));
        next.or_else(|| of_message().or(self.fault_of(room)).or(self.standing_fault.as_ref()).cloned())
    }

    /// How the part of the homeserver that has `room` answers, if it is away.
    pub(super) fn fault_of(&self, room: Option<&str>) -> Option<&Fault> {
        let (rooms, fault) = self.shard.as_ref()?;
        rooms.contains(room?).then_some(fault)
    }
}
