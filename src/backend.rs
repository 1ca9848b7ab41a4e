//! The backends that this process knows: how to reach each homeserver, and whether its lanes may go on sending.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OnceCell, Semaphore};
use tracing::info;

use crate::{
    causes::with_causes,
    matrix::{Acting, Homeserver, SendError, SetupError},
    message::{BackendId, Failure, Lane, UserId, code},
    rooms::direct_book::DirectBook,
    seal::Keys,
    store::{Access, ActingRow, BackendRow, Store, StoreError},
};

/// For older messages we do not rely on the homeserver's 24 h of memory for transaction ids.
const DEDUP_TRUSTED: Duration = Duration::from_secs(23 * 3600);

/// How long a worker may go on with the former token after it was replaced, until it notices.
const SWITCH: Duration = Duration::from_secs(60);

/// Why a copy of a database sends nothing, and what to do if it is not a copy.
const ELSEWHERE: &str = "the backend was set up in another database, and this one is a copy of it: nothing is sent from here; if the \
    database was moved, press «Use It Here» on the backend in Odoo";

/// A lane that fails is tried again within a minute. One that was not heard of for so long fails no more, or elsewhere.
const FAILS_NO_MORE: Duration = Duration::from_secs(120);

/// The shortest pause for a backend whose limit or outage could not be written to the database.
const UNRECORDED_PAUSE: Duration = Duration::from_secs(5);

/// Files that one account uploads at the same time: Synapse gives it no more than five addresses that nothing was uploaded to yet.
const UPLOADS: usize = 4;

/// One configured homeserver account, at one version of its configuration.
pub(crate) struct Backend {
    pub id: BackendId,
    pub config_version: i32,
    pub hold_on_outage: bool,
    /// Messages for encrypted rooms are encrypted; otherwise they are refused.
    pub encrypts: bool,
    /// Encryption is set up, and this worker was built without it: it sends nothing that another worker would encrypt.
    pub lacks_encryption: bool,
    /// New direct rooms are encrypted.
    pub encrypts_new_rooms: bool,
    /// When its address or token was set: a homeserver remembers the transaction ids of one device only.
    configured: Option<Instant>,
    /// How to reach it, or why its configuration does not let us.
    pub homeserver: Result<Homeserver, Failure>,
    me: OnceCell<UserId>,
    gate: Mutex<Gate>,
    /// When the most recent call that got its 200 was begun.
    last_passed: Mutex<Option<Instant>>,
    /// The lane that failed last while nothing got through, and when.
    last_failing: Mutex<Option<(Lane, Instant)>>,
    /// Places for lanes that upload a file.
    pub uploads: Semaphore,
    pub direct: DirectBook,
}

/// Shared by the lanes that were claimed together: closed as soon as one of them learns that nobody may send.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Passage>>);

#[derive(Clone, Copy, Debug, Default)]
enum Passage {
    #[default]
    Open,
    /// Nobody may send. The reason is on its way to the database.
    Closed,
    /// The database has the reason. Trust it only for walks begun after this instant.
    Recorded(Instant),
    /// The reason could not be written. Until this instant the database would say that the backend is open, so it is not asked.
    KeptHere(Instant),
}

impl Gate {
    pub(crate) fn is_closed(&self) -> bool {
        !matches!(*self.lock(), Passage::Open)
    }

    pub(crate) fn close(&self) {
        let mut passage = self.lock();
        if matches!(*passage, Passage::Open) {
            *passage = Passage::Closed;
        }
    }

    /// Closed, and the database has the reason.
    pub(crate) fn recorded(&self) {
        let now = Instant::now();
        let mut passage = self.lock();
        match *passage {
            Passage::Open | Passage::Closed => *passage = Passage::Recorded(now),
            // Another lane could not write what this one could.
            Passage::KeptHere(until) if until > now => *passage = Passage::Recorded(now),
            Passage::Recorded(_) | Passage::KeptHere(_) => {}
        }
    }

    /// Closed, and the reason could not be written: a lane claimed because the database says that the backend may send
    /// would get the same answer again at once.
    pub(crate) fn unrecorded(&self, pause: Duration) {
        let until = Instant::now() + pause.max(UNRECORDED_PAUSE);
        let mut passage = self.lock();
        match *passage {
            Passage::Open | Passage::Closed => *passage = Passage::KeptHere(until),
            Passage::KeptHere(before) => *passage = Passage::KeptHere(before.min(until)),
            Passage::Recorded(_) => {}
        }
    }

    /// Whether it is closed for a reason that the database does not have.
    pub(crate) fn is_unrecorded(&self) -> bool {
        matches!(*self.lock(), Passage::KeptHere(until) if until > Instant::now())
    }

    /// Whether the database, asked at `asked`, would have known why the gate was closed.
    fn was_known_at(&self, asked: Instant) -> bool {
        matches!(*self.lock(), Passage::Recorded(at) | Passage::KeptHere(at) if at < asked)
    }

    fn lock(&self) -> MutexGuard<'_, Passage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend {
    /// A copied database, an unusable URL or token is kept as the reason why nothing can be sent.
    pub(crate) fn new(row: &BackendRow, keys: &Keys, timeout: Duration) -> Self {
        let homeserver = if row.is_at_home {
            reach(&row.access, keys, timeout)
        } else {
            Err(Failure::new(code::OTHER_DATABASE, ELSEWHERE))
        };
        Self {
            id: row.id,
            config_version: row.config_version,
            hold_on_outage: row.hold_on_outage,
            encrypts: row.encrypts && cfg!(feature = "encryption"),
            lacks_encryption: row.encrypts && !cfg!(feature = "encryption"),
            encrypts_new_rooms: row.encrypts_new_rooms,
            configured: row.configured_ago.and_then(|ago| Instant::now().checked_sub(ago)),
            homeserver,
            me: OnceCell::new(),
            gate: Mutex::default(),
            last_passed: Mutex::default(),
            last_failing: Mutex::default(),
            uploads: Semaphore::new(UPLOADS),
            direct: DirectBook::default(),
        }
    }

    /// How old a message may be for us to trust the homeserver's memory of its transaction id. The memory ends after 24 h and does
    /// not include what was tried under another address or token.
    pub(crate) fn remembers_for(&self) -> Duration {
        let as_configured = self.configured.map(|at| at.elapsed().saturating_sub(SWITCH));
        as_configured.map_or(DEDUP_TRUSTED, |time| time.min(DEDUP_TRUSTED))
    }

    /// Who the account is; asked once.
    pub(crate) async fn me(&self, homeserver: &Homeserver) -> Result<UserId, SendError> {
        self.me.get_or_try_init(|| async { Ok(homeserver.whoami().await?.user_id) }).await.cloned()
    }

    /// The gate for lanes that were just claimed because the database, asked at `asked`, said that the backend may send. A gate
    /// that was closed for a reason that the database had by then is replaced by an open one.
    pub(crate) fn gate(&self, asked: Instant) -> Gate {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.was_known_at(asked) {
            *gate = Gate::default();
        }
        gate.clone()
    }

    /// It is no longer active, or its configuration has changed: what was claimed with it stops before its next message.
    fn outdated(&self) {
        info!(backend.id = self.id, "The configuration has changed");
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).close();
    }

    /// A message got its 200. The call had begun at `began`.
    pub(crate) fn passed(&self, began: Instant) {
        let mut last = self.last_passed.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (*last).max(Some(began));
    }

    /// Whether this process has begun a call after `moment` that got its 200.
    pub(crate) fn has_passed_since(&self, moment: Instant) -> bool {
        self.last_passed.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|began| began > moment)
    }

    /// `lane` has just failed. Whether no other lane has since a message got through: of two that fail, the homeserver is at fault.
    pub(crate) fn is_only_failing(&self, lane: &Lane) -> bool {
        let mut last = self.last_failing.lock().unwrap_or_else(PoisonError::into_inner);
        let fails_still = |at: Instant| at.elapsed() < FAILS_NO_MORE && !self.has_passed_since(at);
        if last.as_ref().is_some_and(|(other, at)| other != lane && fails_still(*at)) {
            return false;
        }
        *last = Some((lane.clone(), Instant::now()));
        true
    }
}

/// The homeserver of an account, or why its configuration leads to none.
pub(crate) fn reach(access: &Access, keys: &Keys, timeout: Duration) -> Result<Homeserver, Failure> {
    let open = |what, sealed: &Option<String>| {
        keys.open(what, sealed.as_deref()).map_err(|error| Failure::new(code::TOKEN, error.to_string()))
    };
    let unusable = |error: SetupError| Failure::new(code::URL, with_causes(&error));
    let token = open("access token", &access.token_sealed)?;
    let homeserver = Homeserver::new(&access.homeserver_url, token, access.verify_ssl, timeout).map_err(unusable)?;
    let Some(ActingRow { token_sealed, user, device }) = &access.acting else { return Ok(homeserver) };
    let token = open("token of its registration file", token_sealed)?;
    homeserver.acting(Acting { token, user: user.clone(), device: device.clone() }).map_err(unusable)
}

/// All active backends, read again when a configuration version turns up that is not here.
pub(crate) struct Backends {
    keys: Keys,
    timeout: Duration,
    known: Mutex<HashMap<BackendId, Arc<Backend>>>,
}

impl Backends {
    pub(crate) fn new(keys: Keys, timeout: Duration) -> Self {
        Self { keys, timeout, known: Mutex::default() }
    }

    /// The backend at this version of its configuration; `None` when it is no longer active.
    pub(crate) async fn get(
        &self,
        store: &Store,
        id: BackendId,
        config_version: i32,
    ) -> Result<Option<Arc<Backend>>, StoreError> {
        if let Some(backend) = self.known(id).filter(|backend| backend.config_version == config_version) {
            return Ok(Some(backend));
        }
        let rows = store.backends().await?;
        let mut known = self.lock();
        let mut before = std::mem::take(&mut *known);
        for row in &rows {
            let same = before.remove(&row.id).filter(|backend| {
                let is_same = backend.config_version == row.config_version;
                if !is_same {
                    backend.outdated();
                }
                is_same
            });
            known.insert(row.id, same.unwrap_or_else(|| Arc::new(Backend::new(row, &self.keys, self.timeout))));
        }
        before.values().for_each(|backend| backend.outdated());
        Ok(known.get(&id).cloned())
    }

    /// An operator has paused the backend: none of its lanes in progress sends another message.
    pub(crate) fn pause(&self, id: BackendId) {
        let Some(backend) = self.known(id) else { return };
        let gate = backend.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if !gate.is_closed() {
            info!(backend.id = id, "Paused by an operator");
            gate.close();
        }
        gate.recorded();
    }

    /// Forgets those that are no longer active or whose configuration has changed, and stops their lanes.
    pub(crate) fn retain(&self, is_current: impl Fn(BackendId, i32) -> bool) {
        self.lock().retain(|id, backend| {
            let is_kept = is_current(*id, backend.config_version);
            if !is_kept {
                backend.outdated();
            }
            is_kept
        });
    }

    fn known(&self, id: BackendId) -> Option<Arc<Backend>> {
        self.lock().get(&id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BackendId, Arc<Backend>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[test]
    fn a_closed_gate_is_replaced_only_by_a_walk_that_began_after_its_reason_was_recorded() {
        let (gate, before) = (Gate::default(), Instant::now());
        gate.close();
        assert!(gate.is_closed() && !gate.was_known_at(Instant::now() + SOON));

        gate.recorded();

        assert!(!gate.was_known_at(before) && gate.was_known_at(Instant::now() + SOON));
    }

    #[test]
    fn a_reason_that_one_lane_could_write_is_known_for_all() {
        let gate = Gate::default();
        gate.close();
        gate.unrecorded(Duration::ZERO);
        assert!(gate.is_unrecorded() && !gate.was_known_at(Instant::now() + SOON));

        gate.recorded();
        gate.unrecorded(Duration::ZERO);

        assert!(!gate.is_unrecorded() && gate.is_closed());
    }
}
