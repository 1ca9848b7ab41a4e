//! The leases that this process holds, and their renewal: one statement each third of a lease.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::sleep;
use tracing::{error, warn};

use crate::{
    message::{BackendId, Lane, Lease},
    store::{Claim, Store},
};

/// How many times per third of a lease we retry to renew leases whose lanes were locked when all were renewed.
const ASKED_AGAIN: u32 = 5;

/// When a lease ends, by this process's clock. A renewal extends it; when the lease is lost it becomes now.
#[derive(Clone, Debug)]
pub(crate) struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    pub(crate) fn new(at: Instant) -> Self {
        Self(Arc::new(Mutex::new(at)))
    }

    /// Whether the lease holds for `time` more.
    pub(crate) fn leaves(&self, time: Duration) -> bool {
        *self.lock() > Instant::now() + time
    }

    pub(crate) fn set(&self, at: Instant) {
        *self.lock() = at;
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Leases::sending`].
pub(crate) struct Sending<'a> {
    leases: &'a Leases,
    claim: &'a Claim,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.leases.lock().get_mut(&self.claim.lane) {
            lease.is_sending &= lease.epoch != self.claim.epoch;
        }
        if std::thread::panicking() {
            error!(lane = %self.claim.lane, "The task that sends this lane has panicked; the lane is taken over when its lease ends");
            self.leases.remove(&self.claim.lease());
        }
    }
}

#[derive(Debug)]
struct Held {
    epoch: i64,
    deadline: Deadline,
    /// The lane's task still has its place.
    is_sending: bool,
}

/// From a claim until its release is in the database.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: Mutex<HashMap<Lane, Held>>,
    count: Gauge,
}

impl Leases {
    /// `count` shows how many are held.
    pub(crate) fn new(count: Gauge) -> Self {
        Self { held: Mutex::default(), count }
    }

    pub(crate) fn add(&self, claim: &Claim) -> Deadline {
        let deadline = Deadline::new(claim.deadline);
        let mut held = self.lock();
        let ours = Held { epoch: claim.epoch, deadline: deadline.clone(), is_sending: true };
        held.insert(claim.lane.clone(), ours);
        self.count.set(held.len() as i64);
        deadline
    }

    pub(crate) fn remove(&self, lease: &Lease) {
        let mut held = self.lock();
        if held.get(&lease.lane).is_some_and(|ours| ours.epoch == lease.epoch) {
            held.remove(&lease.lane);
            self.count.set(held.len() as i64);
        }
    }

    /// For the task that sends a claim, to be dropped before its place is free. If the task panics the lease is no longer renewed;
    /// otherwise nobody else could ever lease the lane.
    pub(crate) fn sending<'a>(&'a self, claim: &'a Claim) -> Sending<'a> {
        Sending { leases: self, claim }
    }

    /// It was not lost to another worker or claim.
    #[cfg(feature = "encryption")]
    pub(crate) fn has(&self, lease: &Lease) -> bool {
        self.lock().get(&lease.lane).is_some_and(|ours| ours.epoch == lease.epoch)
    }

    pub(crate) fn holds(&self, lane: &Lane) -> bool {
        self.lock().contains_key(lane)
    }

    /// How many lanes of each backend are being sent. A lane whose release is being written no longer takes a place.
    pub(crate) fn sending_by_backend(&self) -> HashMap<BackendId, usize> {
        let mut count = HashMap::new();
        let leases = self.lock();
        for (lane, _) in leases.iter().filter(|(_, lease)| lease.is_sending) {
            if let Some(backend) = lane.backend() {
                *count.entry(backend).or_default() += 1;
            }
        }
        count
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Renews for ever, each third of a lease. If the database is away the deadlines are not extended, and lanes stop in time.
    pub(crate) async fn renew(&self, store: &Store) {
        // Lanes that somebody had locked, which are asked for again before the next full turn.
        let mut locked = Vec::new();
        let mut since_all = 0;
        loop {
            sleep(store.lease() / 3 / ASKED_AGAIN).await;
            since_all += 1;
            let held = if since_all < ASKED_AGAIN { std::mem::take(&mut locked) } else { self.all() };
            if since_all == ASKED_AGAIN {
                since_all = 0;
            }
            if held.is_empty() {
                continue;
            }
            // Taken before the statement, so that our deadline is never later than the database's.
            let deadline = Instant::now() + store.lease();
            match store.renew(&held).await {
                Ok(ours) => {
                    self.move_on(&held, &ours, deadline);
                    locked = held.into_iter().filter(|lease| ours.get(lease) == Some(&false)).collect();
                }
                Err(error) => warn!(%error, lanes = held.len(), "Leases could not be renewed"),
            }
        }
    }

    /// Gives back what is still held, once nothing sends it any more.
    pub(crate) async fn give_back(&self, store: &Store) {
        let held = self.all();
        if held.is_empty() {
            return;
        }
        if let Err(error) = store.give_back(&held).await {
            warn!(%error, lanes = held.len(), "Lanes could not be given back; their leases will end");
        }
    }

    fn all(&self) -> Vec<Lease> {
        let held = self.lock();
        let mut all: Vec<_> = held.iter().map(|(lane, ours)| Lease { lane: lane.clone(), epoch: ours.epoch }).collect();
        // In the order in which all statements lock lanes, so that two of them do not block each other.
        all.sort_unstable();
        all
    }

    fn move_on(&self, asked: &[Lease], ours: &HashMap<Lease, bool>, until: Instant) {
        let leases = self.lock();
        let mut lost = 0;
        for lease in asked {
            let Some(held) = leases.get(&lease.lane).filter(|held| held.epoch == lease.epoch) else { continue };
            match ours.get(lease) {
                Some(true) => held.deadline.set(until),
                // Its deadline stays until it is free to be renewed.
                Some(false) => {}
                None => {
                    held.deadline.set(Instant::now());
                    // If it is no longer being sent, we most likely released it ourselves a moment ago.
                    lost += usize::from(held.is_sending);
                }
            }
        }
        if lost > 0 {
            warn!(lanes = lost, "Leases were taken over by another worker");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lane, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_whose_task_panics_is_renewed_no_longer() {
        let leases = Arc::new(Leases::default());
        let now = Instant::now();
        let claim = |lane| Claim {
            lane: Lane::new(lane),
            epoch: 1,
            claimed: now,
            deadline: now,
            is_taken_over: false,
            held: None,
            room: None,
            is_encrypted: false,
            messages: Vec::new(),
        };
        let run = |claim: Claim, is_bad: bool| {
            leases.add(&claim);
            let leases = leases.clone();
            tokio::spawn(async move {
                let _sending = leases.sending(&claim);
                assert!(!is_bad, "made to panic");
            })
        };

        assert!(run(claim("1/!bad"), true).await.is_err());
        assert!(run(claim("1/!good"), false).await.is_ok());

        assert!(!leases.holds(&Lane::new("1/!bad")));
        assert!(leases.holds(&Lane::new("1/!good")), "until its release is written");
        assert_eq!(leases.sending_by_backend(), HashMap::new(), "no place is taken by a lane that is being released");
    }
}
