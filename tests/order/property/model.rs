//! What must be true, without a database: who holds which lane, what is visible, what the homeserver has.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{LANES, PRODUCERS};

/// A message's id in the database.
pub(super) type Id = i64;

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Committed and not done with.
    pub(super) waiting: BTreeSet<Id>,
    pub(super) epoch: i64,
    pub(super) lease: Lease,
    /// The message at which the lane waits, with its attempts.
    pub(super) held: Option<(Id, i32)>,
    /// Its room took no message a while ago: nobody leases it before the rest is over.
    pub(super) is_resting: bool,
    /// What the homeserver has taken, in its order.
    pub(super) room: Vec<Id>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Lease {
    #[default]
    Free,
    Held,
    Expired,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) lanes: [Lane; LANES],
    /// Inserted and not committed, with its lane.
    pub(super) open: [Vec<(Id, usize)>; PRODUCERS],
    /// When each message was inserted and when it was committed, in steps.
    inserted: HashMap<Id, usize>,
    committed: BTreeMap<Id, usize>,
    pub(super) failed: HashSet<Id>,
    /// Given up because the room has taken a message that was queued behind them, with that one.
    pub(super) given_up: HashMap<Id, Id>,
    /// Those that have had their row "failed, will be sent when the homeserver is back".
    pub(super) reported: HashSet<Id>,
    now: usize,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            lanes: Default::default(),
            open: Default::default(),
            inserted: HashMap::new(),
            committed: BTreeMap::new(),
            failed: HashSet::new(),
            given_up: HashMap::new(),
            reported: HashSet::new(),
            now: 0,
        }
    }

    pub(super) fn insert(&mut self, producer: usize, lane: usize, id: Id) {
        self.now += 1;
        self.inserted.insert(id, self.now);
        self.open[producer].push((id, lane));
    }

    pub(super) fn commit(&mut self, producer: usize) {
        self.now += 1;
        for (id, lane) in std::mem::take(&mut self.open[producer]) {
            self.committed.insert(id, self.now);
            self.lanes[lane].waiting.insert(id);
        }
    }

    pub(super) fn committed(&self) -> BTreeSet<Id> {
        self.committed.keys().copied().collect()
    }

    /// The lanes that a claim may lease.
    pub(super) fn leasable(&self) -> Vec<usize> {
        let is_leasable = |lane: &Lane| !lane.waiting.is_empty() && lane.lease != Lease::Held && !lane.is_resting;
        (0..LANES).filter(|&number| is_leasable(&self.lanes[number])).collect()
    }

    pub(super) fn accepts(&mut self, lane: usize, id: Id) {
        let room = &mut self.lanes[lane].room;
        if !room.contains(&id) {
            room.push(id);
        }
    }

    /// The messages that have failed although the room has one that waits behind them, and the last such one.
    pub(super) fn overtaken(&self, lane: usize) -> (Vec<Id>, Id) {
        let Lane { waiting, room, .. } = &self.lanes[lane];
        let last = waiting.iter().copied().rfind(|id| room.contains(id)).unwrap_or_default();
        let is_overtaken = |id: &Id| self.reported.contains(id) && !room.contains(id);
        (waiting.range(..last).copied().filter(is_overtaken).collect(), last)
    }

    /// A message is given up only when its room has another one that was queued behind it, and not this one.
    pub(super) fn check_given_up(&self) -> Result<(), String> {
        for (head, behind) in &self.given_up {
            let room = self.lanes.iter().map(|lane| &lane.room).find(|room| room.contains(behind));
            let Some(room) = room else {
                return Err(format!("{head} was given up for {behind}, which was never sent"));
            };
            if behind <= head || room.contains(head) {
                return Err(format!("{head} was given up for {behind}; the room has {room:?}"));
            }
        }
        Ok(())
    }

    /// What was committed before another one was inserted comes before it.
    pub(super) fn check_order(&self) -> Result<(), String> {
        for lane in &self.lanes {
            for (place, later) in lane.room.iter().enumerate() {
                for earlier in &lane.room[place + 1..] {
                    if self.committed[earlier] < self.inserted[later] {
                        return Err(format!(
                            "{later} was sent before {earlier}, which had been committed before it was inserted"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
