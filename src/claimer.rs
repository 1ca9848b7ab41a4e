//! Which lanes to send next: walks the lanes of each backend as a ring and leases those that are free.

mod shares;
mod size;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::warn;

use self::{shares::Shares, size::Size};
use crate::{
    backend::{Backend, Backends, Gate},
    health::Pulse,
    leases::Leases,
    message::{BackendId, Lane},
    store::{Claim, Resume, Standing, Store, StoreError, Walk, Wanted},
};

/// A walk looks for at least this many free lanes: other workers may take some of them first.
const LEAST_FOUND: usize = 4;

/// Another worker has the slot of a limited backend: look again soon for the next slot.
const SLOT_POLL: Duration = Duration::from_millis(20);

/// If the database does not grant the turn to probe a stopped backend, look again after this pause.
const PROBE_POLL: Duration = Duration::from_millis(500);

/// If the reason why nobody may send could not be written, we wait by ourselves, and look this often for a new configuration.
const UNRECORDED_POLL: Duration = Duration::from_millis(500);

/// How far the walk over a backend's lanes has come.
#[derive(Debug, Default)]
struct Cursor {
    after: Option<Lane>,
    /// The pass began at the first lane and has claimed nothing since. If it ends with this still set, no lane is claimable.
    is_idle_pass: bool,
    busy_elsewhere: usize,
    /// How many lanes of encrypted rooms the last walks found and left to others. The next one looks for as many more.
    left_to_others: usize,
}

impl Cursor {
    /// Where the next walk begins.
    fn resume(&mut self) -> Resume {
        let more = self.left_to_others;
        self.left_to_others /= 2;
        Resume { after: self.after.clone(), more }
    }
}

/// What one round found.
#[derive(Default)]
pub(crate) struct Round {
    pub claims: Vec<Claimed>,
    /// All lanes were looked at, and none was free.
    pub is_idle: bool,
    /// Everything that was free has been claimed: another walk finds nothing until a lane is given back or a message is queued.
    pub is_exhausted: bool,
    /// Lanes with messages that are leased by others, whose leases may end, or that are resting.
    pub busy_elsewhere: usize,
    /// Stopped backends that may be asked now whether they are back.
    pub to_probe: Vec<Arc<Backend>>,
    /// When a backend that may not send now is to be looked at again.
    pub next_due: Option<Duration>,
}

pub(crate) struct Claimed {
    pub claim: Claim,
    pub backend: Arc<Backend>,
    pub gate: Gate,
    /// The backend is limited, and the claim has its slot.
    pub is_paced: bool,
}

pub(crate) type HasKeys = Box<dyn Fn(BackendId) -> bool + Send + Sync>;

/// Remembers the cursor of each backend between rounds, so that no lane is looked at twice before all others were.
pub(crate) struct Claimer {
    backends: Backends,
    /// Whether this process has the keys of an account.
    has_keys: HasKeys,
    pulse: Pulse,
    cursors: HashMap<BackendId, Cursor>,
    size: Size,
    /// Until then there may be lanes leased to us by a claim whose answer was lost.
    unheard_until: Option<Instant>,
    /// The backend that got places last: the round begins with the one that follows it by id.
    served: Option<BackendId>,
}

impl Claimer {
    pub(crate) fn new(backends: Backends, has_keys: HasKeys, pulse: Pulse) -> Self {
        let (cursors, size) = (HashMap::new(), Size::default());
        Self { backends, has_keys, pulse, cursors, size, unheard_until: None, served: None }
    }

    /// Walks once and claims at most `places` of the lanes found. Without a free place it only learns which backends may send.
    pub(crate) async fn round(&mut self, store: &Store, leases: &Leases, places: usize) -> Result<Round, StoreError> {
        let resume = self.cursors.iter_mut().map(|(id, cursor)| (*id, cursor.resume())).collect();
        let asked = Instant::now();
        let mut ring = store.ring(&resume, places.max(LEAST_FOUND)).await?;
        let mut lanes: HashMap<BackendId, Vec<Lane>> = HashMap::new();
        for (backend, lane) in ring.lanes {
            lanes.entry(backend).or_default().push(lane);
        }
        self.cursors.retain(|id, _| ring.backends.iter().any(|walk| walk.backend == *id));
        self.backends.retain(|id, version| {
            ring.backends.iter().any(|walk| (walk.backend, walk.config_version) == (id, version))
        });
        // Otherwise, with fewer places than backends, the first backends would always get them all.
        let served = self.served;
        ring.backends.sort_unstable_by_key(|walk| (served.is_some_and(|id| walk.backend <= id), walk.backend));
        let open = ring.backends.iter().filter(|walk| matches!(walk.standing, Standing::Open | Standing::Paced));
        let mut shares = Shares::new(open.map(|walk| walk.backend), leases.sending_by_backend(), places);
        let mut round = Round { is_idle: true, is_exhausted: true, ..Round::default() };
        if self.unheard_until.is_some_and(|until| asked < until) {
            round.busy_elsewhere = 1;
        }
        let mut backends_left = ring.backends.len();
        let mut trouble = None;
        for walk in ring.backends {
            // With many backends and a slow database a round is long, but the loop does not hang.
            self.pulse.beat();
            let id = walk.backend;
            let share = shares.free.div_ceil(backends_left).min(shares.left_for(id));
            backends_left -= 1;
            let found = Found { walk, asked, lanes: lanes.remove(&id).unwrap_or_default(), all_places: shares.all };
            let before = round.claims.len();
            match self.serve(store, leases, found, share, &mut round).await {
                Ok(()) => shares.take(id, round.claims.len() - before),
                Err(error) => {
                    let is_away = error.is_passing();
                    trouble.get_or_insert(error);
                    // If the trouble is this backend's alone, such as a lock, the others go first next time.
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
            // The lanes that were leased for other backends must be sent.
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
        let Found { walk, asked, lanes, all_places } = found;
        let Walk { backend: id, config_version, .. } = walk;
        let is_paced = walk.standing == Standing::Paced;
        match walk.standing {
            Standing::Closed { wait } => {
                // Paused until somebody resumes it: lanes that are already claimed stop before their next message.
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
            // A lane that is given back wakes us.
            Standing::Open | Standing::Paced if share == 0 => round.is_exhausted &= lanes.is_empty() && walk.is_end,
            Standing::Open | Standing::Paced => {
                let Some(backend) = self.backends.get(store, id, config_version).await? else { return Ok(()) };
                let gate = backend.gate(asked);
                if gate.is_closed() && gate.is_unrecorded() {
                    round.look_again(Some(UNRECORDED_POLL));
                    return Ok(());
                }
                // Lanes that we hold already need no slot.
                let needs_slot = is_paced && lanes.iter().any(|lane| !leases.holds(lane));
                // One of our lanes has closed the gate and is writing the reason: lanes leased now would only be given back.
                if gate.is_closed() || (needs_slot && !store.take_slot(id).await?) {
                    round.look_again(Some(SLOT_POLL));
                    return Ok(());
                }
                let most = if is_paced { 1 } else { share };
                let before = round.claims.len();
                let has_keys = (self.has_keys)(id);
                let turn = Turn { store, leases, backend, gate, walk, most, is_paced, all_places, has_keys };
                self.claim(&turn, lanes, round).await?;
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
            (cursor.is_idle_pass, cursor.busy_elsewhere) = (true, 0);
        }
        cursor.after.clone_from(&turn.walk.passed_until);
        // The database may list one of our own lanes as free a moment before we learn that it was given back.
        let mut free: Vec<_> = candidates.into_iter().filter(|lane| !turn.leases.holds(lane)).collect();
        let of_others = match turn.of_others(&free).await {
            Ok(of_others) => of_others,
            Err(error) => {
                // These lanes were not looked at, so the next walk must not take this pass for an idle one.
                cursor.after = None;
                return Err(error);
            }
        };
        let before = free.len();
        free.retain(|lane| !of_others.contains(lane));
        let elsewhere = before - free.len();
        cursor.left_to_others = cursor.left_to_others.max(elsewhere);
        let most = self.size.lanes(turn.most);
        let mut claimed = 0;
        if !free.is_empty() {
            let bytes = self.size.bytes(turn.all_places);
            let messages = if turn.is_paced { 1 } else { self.size.messages(bytes) };
            let (backend, is_paced) = (turn.backend.id, turn.is_paced);
            let remembered_for = turn.backend.remembers_for();
            let wanted = Wanted { backend, lanes: &free, most, messages, bytes, is_paced, remembered_for };
            let asked = Instant::now();
            let claims = match turn.store.claim(&wanted).await {
                Ok(claims) => claims,
                Err(error) => {
                    // These lanes were not looked at, so the next walk must not take this pass for an idle one.
                    cursor.after = None;
                    self.unheard_until = Some(Instant::now() + turn.store.lease());
                    if matches!(error, StoreError::Cancelled(_)) {
                        self.size.too_slow();
                    }
                    return Err(error);
                }
            };
            self.size.answered(&claims, asked.elapsed(), turn.store.lease());
            claimed = claims.len();
            cursor.is_idle_pass &= claimed == 0;
            if claimed == most {
                // Lanes behind the last one were not asked for.
                cursor.after = claims.last().map(|claim| claim.lane.clone());
            }
            round.claims.extend(claims.into_iter().map(|claim| Claimed {
                backend: turn.backend.clone(),
                gate: turn.gate.clone(),
                is_paced: turn.is_paced,
                claim,
            }));
        }
        if claimed == most {
            round.is_idle = false;
            round.is_exhausted = false;
            return Ok(());
        }
        cursor.busy_elsewhere += turn.walk.busy_elsewhere + elsewhere + free.len() - claimed;
        if turn.walk.is_end {
            cursor.after = None;
            round.busy_elsewhere += cursor.busy_elsewhere;
            round.is_idle &= cursor.is_idle_pass;
            // If the pass began in the middle, a lane before its start may be free now.
            round.is_exhausted &= cursor.is_idle_pass;
        } else {
            round.is_idle = false;
            round.is_exhausted = false;
        }
        Ok(())
    }
}

/// What the walk found of one backend.
struct Found {
    walk: Walk,
    asked: Instant,
    /// They were free when the walk saw them.
    lanes: Vec<Lane>,
    all_places: usize,
}

/// One backend that gets places.
struct Turn<'a> {
    store: &'a Store,
    leases: &'a Leases,
    backend: Arc<Backend>,
    gate: Gate,
    walk: Walk,
    most: usize,
    is_paced: bool,
    all_places: usize,
    /// This process has the keys of the account.
    has_keys: bool,
}

impl Turn<'_> {
    /// Those of the lanes whose messages are sent by another worker: the one that has the account's keys sends to encrypted rooms.
    async fn of_others(&self, lanes: &[Lane]) -> Result<HashSet<Lane>, StoreError> {
        // Where nothing is encrypted they are refused. Why nothing can be sent at all is said by whoever claims them.
        if !self.backend.encrypts || self.has_keys || self.backend.homeserver.is_err() || lanes.is_empty() {
            return Ok(HashSet::new());
        }
        self.store.encrypted_lanes(self.backend.id, lanes).await
    }
}

impl Round {
    fn look_again(&mut self, after: Option<Duration>) {
        self.next_due = self.next_due.into_iter().chain(after).min();
    }
}
