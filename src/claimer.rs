//! Which lanes to send next: walks the lanes of each backend as a ring and leases those that are free.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::warn;

use crate::{
    backend::{Backend, Backends, Gate},
    health::Pulse,
    leases::Leases,
    message::{BackendId, Lane},
    store::{Claim, Standing, Store, StoreError, Wanted},
};

/// Messages that one claim of a lane sends before others have their turn.
const MESSAGES_PER_CLAIM: usize = 32;

/// Lanes that one walk looks at, at least: fewer would make many walks of few free places.
const LEAST_PROBES: usize = 16;

/// Another worker has the slot of a limited backend: look again soon, when the next one shows.
const SLOT_POLL: Duration = Duration::from_millis(20);

/// The turn to probe a stopped backend may not be had, for the database's sake: look again after this.
const PROBE_POLL: Duration = Duration::from_millis(500);

/// The database could not be told why nobody may send: we know how long to wait, and it may hear of a new configuration.
const UNRECORDED_POLL: Duration = Duration::from_millis(500);

/// Where the walk over a backend's lanes stands.
#[derive(Debug, Default)]
struct Cursor {
    after: Option<Lane>,
    /// The pass began at the first lane and has claimed nothing since: when it ends, there is nothing.
    is_idle_pass: bool,
    leased_elsewhere: usize,
}

/// What one round found.
#[derive(Default)]
pub struct Round {
    pub claims: Vec<Claimed>,
    /// All lanes were looked at, and none was free.
    pub is_idle: bool,
    /// Lanes with messages that others hold, and whose leases may end.
    pub leased_elsewhere: usize,
    /// Stopped backends that may be asked now whether they are back.
    pub to_probe: Vec<Arc<Backend>>,
    /// When a backend that may not send now is to be looked at again.
    pub next_due: Option<Duration>,
}

pub struct Claimed {
    pub claim: Claim,
    pub backend: Arc<Backend>,
    pub gate: Gate,
    /// The backend is limited, and the claim has its slot.
    pub is_paced: bool,
}

/// Remembers the cursor of each backend between rounds, so that no lane is looked at twice before all others were.
pub struct Claimer {
    backends: Backends,
    pulse: Pulse,
    cursors: HashMap<BackendId, Cursor>,
    /// The backend that was the last to get places: the next one in the order of their ids is first.
    served: Option<BackendId>,
}

impl Claimer {
    pub fn new(backends: Backends, pulse: Pulse) -> Self {
        Self { backends, pulse, cursors: HashMap::new(), served: None }
    }

    /// One walk and the claims of what it found, at most `places` of them. Without a place it hears what may be sent at all.
    pub async fn round(&mut self, store: &Store, leases: &Leases, places: usize) -> Result<Round, StoreError> {
        let probes = places.max(LEAST_PROBES);
        let after = self.cursors.iter().filter_map(|(id, cursor)| Some((*id, cursor.after.clone()?))).collect();
        let asked = Instant::now();
        let mut ring = store.ring(&after, probes).await?;
        let mut lanes: HashMap<BackendId, Vec<Lane>> = HashMap::new();
        for (backend, lane) in ring.lanes {
            lanes.entry(backend).or_default().push(lane);
        }
        self.cursors.retain(|id, _| ring.backends.iter().any(|(active, ..)| active == id));
        self.backends.retain(|id, version| ring.backends.iter().any(|now| (now.0, now.1) == (id, version)));
        // With fewer places than backends, the first ones would have them all.
        ring.backends.sort_unstable_by_key(|(id, ..)| (self.served.is_some_and(|served| *id <= served), *id));
        let open = ring.backends.iter().filter(|(.., standing)| matches!(standing, Standing::Open | Standing::Paced));
        let mut shares = Shares::new(open.map(|(id, ..)| *id), leases.sending_by_backend(), places);
        let mut round = Round { is_idle: true, ..Round::default() };
        let mut backends_left = ring.backends.len();
        let mut trouble = None;
        for (id, config_version, standing) in ring.backends {
            // Many backends on a slow database make a long round, which is no loop that hangs.
            self.pulse.beat();
            let share = shares.free.div_ceil(backends_left).min(shares.left_for(id));
            backends_left -= 1;
            let found = Found {
                id,
                config_version,
                standing,
                asked,
                is_end: lanes.get(&id).map_or(0, Vec::len) < probes,
                lanes: lanes.remove(&id).unwrap_or_default(),
            };
            let before = round.claims.len();
            match self.serve(store, leases, found, share, &mut round).await {
                Ok(()) => shares.take(id, round.claims.len() - before),
                Err(error) => {
                    let is_away = error.is_passing();
                    trouble.get_or_insert(error);
                    // Should it be away for this backend alone, as by a lock, the others are first the next time.
                    self.served = Some(id);
                    if is_away {
                        break;
                    }
                }
            }
            if round.claims.len() > before {
                self.served = Some(id);
            }
        }
        match trouble {
            Some(error) if round.claims.is_empty() => Err(error),
            // What was leased for other backends has to be sent.
            Some(error) => {
                warn!(%error, "Not every backend's lanes could be leased");
                round.is_idle = false;
                Ok(round)
            }
            None => Ok(round),
        }
    }

    /// One backend's part of a round.
    async fn serve(
        &mut self,
        store: &Store,
        leases: &Leases,
        found: Found,
        share: usize,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let Found { id, config_version, standing, asked, is_end, lanes } = found;
        let is_paced = standing == Standing::Paced;
        match standing {
            Standing::Closed { wait } => {
                // Until somebody resumes it: what is claimed already stops before its next message.
                if wait.is_none() {
                    self.backends.pause(id);
                }
                round.look_again(wait);
            }
            Standing::Changed => {
                store.reset(id).await?;
                round.look_again(Some(Duration::ZERO));
            }
            Standing::Probe => {
                round.to_probe.extend(self.backends.get(store, id, config_version).await?);
                round.look_again(Some(PROBE_POLL));
            }
            // A slot is taken only for a lane that is there. The end of the lanes was reached: on from the first.
            Standing::Paced if lanes.is_empty() => {
                round.is_idle &= self.cursors.remove(&id).is_none_or(|cursor| cursor.after.is_none());
            }
            // A lane that is given back wakes us.
            Standing::Open | Standing::Paced if share == 0 => {}
            Standing::Open | Standing::Paced => {
                let Some(backend) = self.backends.get(store, id, config_version).await? else { return Ok(()) };
                let gate = backend.gate(asked);
                if gate.is_closed() && gate.is_unrecorded() {
                    round.look_again(Some(UNRECORDED_POLL));
                    return Ok(());
                }
                // Lanes of our own are none to take a slot for.
                let needs_slot = is_paced && lanes.iter().any(|lane| !leases.holds(lane));
                // Closed by one of our lanes, and why is just being written down: what was leased now would only be given back.
                if gate.is_closed() || (needs_slot && !store.take_slot(id).await?) {
                    round.look_again(Some(SLOT_POLL));
                    return Ok(());
                }
                let most = if is_paced { 1 } else { share };
                let before = round.claims.len();
                self.claim(&Turn { store, leases, backend, gate, is_end, most, is_paced }, lanes, round).await?;
                if needs_slot && round.claims.len() == before {
                    store.give_slot_back(id).await?;
                }
            }
        }
        Ok(())
    }

    async fn claim(&mut self, turn: &Turn<'_>, candidates: Vec<Lane>, round: &mut Round) -> Result<(), StoreError> {
        let cursor = self.cursors.entry(turn.backend.id).or_default();
        if cursor.after.is_none() {
            *cursor = Cursor { is_idle_pass: true, ..Cursor::default() };
        }
        cursor.after = candidates.last().cloned();
        let free: Vec<_> = candidates.into_iter().filter(|lane| !turn.leases.holds(lane)).collect();
        let mut claimed = 0;
        if !free.is_empty() {
            let messages = if turn.is_paced { 1 } else { MESSAGES_PER_CLAIM };
            let wanted = Wanted {
                backend: turn.backend.id,
                lanes: &free,
                most: turn.most,
                messages,
                is_paced: turn.is_paced,
                remembered_for: turn.backend.remembers_for(),
            };
            let claims = match turn.store.claim(&wanted).await {
                Ok(claims) => claims,
                // Nobody has looked at these lanes: the next walk must not take the pass for an idle one.
                Err(error) => {
                    cursor.after = None;
                    return Err(error);
                }
            };
            claimed = claims.len();
            cursor.is_idle_pass &= claimed == 0;
            if claimed == turn.most {
                // Those behind the last one were not asked for.
                cursor.after = claims.last().map(|claim| claim.lane.clone());
            }
            round.claims.extend(claims.into_iter().map(|claim| Claimed {
                claim,
                backend: turn.backend.clone(),
                gate: turn.gate.clone(),
                is_paced: turn.is_paced,
            }));
        }
        if claimed == turn.most {
            round.is_idle = false;
            return Ok(());
        }
        cursor.leased_elsewhere += free.len() - claimed;
        if turn.is_end {
            cursor.after = None;
            round.leased_elsewhere += cursor.leased_elsewhere;
            round.is_idle &= cursor.is_idle_pass;
        } else {
            round.is_idle = false;
        }
        Ok(())
    }
}

/// How the places are divided. A homeserver that answers slowly, or not at all, keeps its lanes for long and would come to hold
/// all places: a few are kept for each other backend until it has them.
struct Shares {
    free: usize,
    kept: usize,
    held: HashMap<BackendId, usize>,
}

impl Shares {
    /// `open`: the backends that may send; `held`: lanes that this worker has of each.
    fn new(open: impl Iterator<Item = BackendId>, all: HashMap<BackendId, usize>, free: usize) -> Self {
        let places = free + all.values().sum::<usize>();
        let held: HashMap<_, _> = open.map(|id| (id, all.get(&id).copied().unwrap_or_default())).collect();
        // Together the backends keep a quarter of the places, one each when there are many of them.
        let kept = (places / 4 / held.len().max(1)).max(1);
        Self { free, kept, held }
    }

    fn left_for(&self, id: BackendId) -> usize {
        let others = self.held.iter().filter(|(other, _)| **other != id);
        let kept: usize = others.map(|(_, held)| self.kept.saturating_sub(*held)).sum();
        // What it has not had of its own is its own.
        let own = self.kept.saturating_sub(self.held.get(&id).copied().unwrap_or_default());
        self.free.saturating_sub(kept).max(own).min(self.free)
    }

    fn take(&mut self, id: BackendId, count: usize) {
        self.free -= count;
        *self.held.entry(id).or_default() += count;
    }
}

/// What the walk found of one backend.
struct Found {
    id: BackendId,
    config_version: i32,
    standing: Standing,
    asked: Instant,
    /// The walk came to the last of its lanes.
    is_end: bool,
    lanes: Vec<Lane>,
}

/// One backend that gets places.
struct Turn<'a> {
    store: &'a Store,
    leases: &'a Leases,
    backend: Arc<Backend>,
    gate: Gate,
    /// The walk came to the last of the backend's lanes.
    is_end: bool,
    most: usize,
    is_paced: bool,
}

impl Round {
    fn look_again(&mut self, after: Option<Duration>) {
        self.next_due = self.next_due.into_iter().chain(after).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_keeps_its_places_leaves_some_to_each_other_one() {
        let shares = |held: &[(BackendId, usize)], free| Shares::new(1..=3, held.iter().copied().collect(), free);

        assert_eq!(shares(&[], 24).left_for(1), 20);
        assert_eq!(shares(&[(1, 20)], 4).left_for(1), 0);
        assert_eq!(shares(&[(1, 20)], 4).left_for(2), 2);
        assert_eq!(shares(&[(1, 20), (2, 2)], 2).left_for(2), 0);
        assert_eq!(shares(&[(1, 20), (2, 2)], 2).left_for(3), 2);
        // More backends than places.
        assert_eq!(Shares::new(1..=9, HashMap::new(), 4).left_for(5), 1);
        assert_eq!(Shares::new(1..=1, HashMap::new(), 64).left_for(1), 64);
    }
}
