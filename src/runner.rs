//! The worker: claims lanes while it has places for them, waits for something to do, and shuts down in order.

mod heartbeat;
mod probe;

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::{Instrument as _, error, error_span, info, warn};

use crate::{
    backend::Backends,
    backoff::{self, Backoff},
    claimer::{Claimed, Claimer, HasKeys, Round},
    config::Config,
    failpoint::{self, Point},
    flush::{Completions, Flusher},
    follower::{self, Followers},
    health::Health,
    lane::{Context, Delivery, FileRoom},
    leases::Leases,
    metrics::Metrics,
    reached::Reached,
    rooms::book::RoomBooks,
    shutdown::{self, Shutdown},
    store::{Store, StoreError, Wakeups},
    survey,
};

/// After a wake-up: a transaction that committed at the same time as the one that notified becomes visible within moments.
const DECAY_FROM: Duration = Duration::from_millis(5);
const DECAY_UNTIL: Duration = Duration::from_secs(1);
const DECAY_FACTOR: u32 = 4;

/// Without any wake-up. With its jitter at most 15 s, as documented.
const POLL: Duration = Duration::from_secs(12);

/// While lanes with messages are leased by other workers, which may die.
const POLL_LEASED: Duration = Duration::from_millis(500);

/// How long to wait when the database is not what the worker needs.
const CONTRACT_POLL: Duration = Duration::from_secs(10);

/// When the worker ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Stopped,
    /// Nothing is left that could be sent without somebody's help.
    Drained,
}

/// What every task of the worker shares.
struct Shared {
    context: Arc<Context>,
    leases: Leases,
    /// There may be something to claim: a lane was given back, or a stopped backend was probed.
    freed: Arc<Notify>,
    /// A lane's task has ended. Its release may still be on its way.
    place: Notify,
    wakeups: Wakeups,
    health: Health,
}

/// Delivers until it is asked to stop, or until nothing is left to send. What was written is counted in `metrics`.
pub(crate) async fn run(
    config: &Config,
    store: Store,
    metrics: Metrics,
    shutdown: Shutdown,
    wakeups: Wakeups,
    health: Health,
    until: Until,
) {
    let freed = Arc::new(Notify::new());
    let (completions, flusher) = Flusher::new(freed.clone(), metrics.clone(), health.flushing.clone());
    let call_needs = config.http_timeout + config.lease_margin();
    let shared = Arc::new(Shared {
        leases: Leases::new(metrics.lanes_held.clone()),
        context: Arc::new(Context {
            store,
            metrics,
            shutdown: shutdown.clone(),
            call_needs,
            retry_delay: config.retry_delay,
            http_timeout: config.http_timeout,
            files: FileRoom::default(),
            rooms: RoomBooks::default(),
            reached: Reached::default(),
            #[cfg(feature = "encryption")]
            devices: crate::crypto::Devices::default(),
            #[cfg(feature = "encryption")]
            keys: config.token_keys.clone(),
        }),
        freed,
        place: Notify::new(),
        wakeups,
        health,
    });
    let (asks_sender, asks) = watch::channel(None);
    let mut background = JoinSet::new();
    background.spawn({
        let shared = shared.clone();
        async move { shared.leases.renew(&shared.context.store).await }
    });
    background.spawn({
        let shared = shared.clone();
        async move { survey::watch(&shared.context.store, &shared.context.metrics, asks_sender).await }
    });
    // `drain` ends soon, and nobody waits for what is written in Matrix meanwhile. It needs the keys for encrypted rooms.
    let for_events = until == Until::Stopped;
    let is_sent = Arc::new(Notify::new());
    let following = (for_events || cfg!(feature = "encryption")).then(|| {
        let setup = follower::Setup { keys: config.token_keys.clone(), http_timeout: config.http_timeout, for_events };
        let followers = Followers::new(shared.context.clone(), setup, shared.wakeups.clone());
        tokio::spawn(followers.run(asks, is_sent.clone()))
    });
    let is_over = Arc::new(Notify::new());
    let heartbeat = tokio::spawn(heartbeat::beat(shared.clone(), is_over.clone()));
    let flushing = tokio::spawn({
        let shared = shared.clone();
        async move { flusher.run(&shared.context.store, &shared.leases).await }
    });
    let runner = Runner {
        shared: shared.clone(),
        claimer: Claimer::new(
            Backends::new(config.token_keys.clone(), config.http_timeout),
            has_keys(&shared.context),
            shared.health.claiming.clone(),
        ),
        places: Arc::new(Semaphore::new(config.concurrency)),
        completions,
        lanes: JoinSet::new(),
    };
    // After the grace period, or at a second signal, lanes are dropped wherever they are.
    tokio::select! {
        () = runner.run(until) => {}
        () = shutdown.ended() => {}
    }
    let last_words = async {
        is_sent.notify_one();
        if let Some(following) = following
            && let Err(error) = following.await
        {
            warn!(%error, "The task that follows accounts failed");
        }
        if let Err(error) = flushing.await {
            warn!(%error, "The flusher failed");
        }
        shared.leases.give_back(&shared.context.store).await;
        is_over.notify_one();
        if let Err(error) = heartbeat.await {
            warn!(%error, "The heartbeat failed");
        }
    };
    let no_time_left = async {
        shutdown.ended().await;
        sleep(shutdown::last_words(config.shutdown_grace)).await;
    };
    // What cannot be written now is sent again under the same transaction ids once the leases end.
    tokio::select! {
        () = last_words => {}
        () = no_time_left => warn!("The database did not take the last results in time"),
    }
}

/// Claims and sends. When it is dropped the flusher's channel closes, and the flusher ends too.
struct Runner {
    shared: Arc<Shared>,
    claimer: Claimer,
    places: Arc<Semaphore>,
    completions: Completions,
    lanes: JoinSet<()>,
}

impl Runner {
    async fn run(mut self, until: Until) {
        let shared = self.shared.clone();
        let shutdown = &shared.context.shutdown;
        let health = &shared.health;
        let mut trouble = Backoff::new(Duration::from_millis(100), Duration::from_millis(500)).start();
        let mut decay = DECAY_FROM;
        while !shutdown.is_draining() {
            while self.lanes.try_join_next().is_some() {}
            let mut is_exhausted = false;
            let pause = match self.round().await {
                Ok(round) => {
                    trouble.reset();
                    health.ready();
                    is_exhausted = round.is_exhausted;
                    if until == Until::Drained && self.is_drained(&round).await {
                        break;
                    }
                    if self.places.available_permits() == 0 {
                        // All places are taken: the next lane to end wakes us.
                        round.next_due.map_or(POLL, |due| POLL.min(due))
                    } else {
                        pause_after(&round, &mut decay)
                    }
                }
                Err(error) => {
                    health.not_ready(&error);
                    pause_of_trouble(&error, trouble.next_pause())
                }
            };
            let places = self.places.clone();
            let waiting = async {
                let mut poll = pin!(sleep(pause));
                // Waits for a notification, a lane given back, a place for a lane that is free, the next poll, or the end.
                loop {
                    tokio::select! {
                        () = shared.wakeups.next() => {
                            decay = DECAY_FROM;
                            break;
                        }
                        () = shared.freed.notified() => is_exhausted = false,
                        () = shared.place.notified() => {}
                        () = &mut poll => break,
                        () = shutdown.draining() => break,
                    }
                    // Without a free place, or with nothing left to claim, a walk would be useless.
                    if !is_exhausted && places.available_permits() > 0 {
                        break;
                    }
                }
            };
            health.claiming.beat_while(waiting).await;
        }
        health.not_ready(&"stopping");
        health.claiming.beat_while(async { while self.lanes.join_next().await.is_some() {} }).await;
    }

    /// Claims lanes once and starts sending them. Without a free place it only learns which backends may send.
    async fn round(&mut self) -> Result<Round, StoreError> {
        let places = self.places.available_permits();
        let mut round = self.claimer.round(&self.shared.context.store, &self.shared.leases, places).await?;
        for backend in round.to_probe.drain(..) {
            let shared = self.shared.clone();
            self.lanes.spawn(async move {
                // If no turn was taken nothing has changed, and looking again at once would be a busy loop.
                let span = error_span!("probe", backend.id = backend.id);
                if probe::ask(&shared, &backend).instrument(span).await {
                    shared.freed.notify_one();
                }
            });
        }
        for claimed in std::mem::take(&mut round.claims) {
            failpoint::reach(Point::AfterClaim).await;
            self.start(claimed);
        }
        Ok(round)
    }

    fn start(&mut self, Claimed { claim, backend, gate, is_paced }: Claimed) {
        let permit = self.places.clone().try_acquire_owned().expect("no more is claimed than there are places");
        let deadline = self.shared.leases.add(&claim);
        // One for each claim and none for each message, so that sending does not become slower.
        let span = error_span!("sending", lane = %claim.lane, backend.id = backend.id);
        if claim.is_taken_over {
            self.shared.context.metrics.leases_taken_over.inc();
            span.in_scope(|| info!(epoch = claim.epoch, "Took over a lane whose lease had ended"));
        }
        let (shared, completions) = (self.shared.clone(), self.completions.clone());
        self.lanes.spawn(async move {
            let sending = shared.leases.sending(&claim);
            let delivery = Delivery {
                context: &shared.context,
                completions: &completions,
                claim: &claim,
                deadline,
                backend: &backend,
                gate,
                is_paced,
            };
            delivery.run().instrument(span).await;
            // In this order: otherwise a place that is taken again at once would still be counted for this backend.
            drop(sending);
            drop(permit);
            shared.place.notify_one();
        });
    }

    async fn is_drained(&self, round: &Round) -> bool {
        // A task that still runs, or ended after the round, may have been a probe that opened a backend.
        if !round.is_idle || !self.lanes.is_empty() || !self.shared.leases.is_empty() {
            return false;
        }
        // We wait for lanes that others hold and for limits of the homeserver, but not for rooms that take nothing.
        match self.shared.context.store.has_sendable().await {
            Ok(is_sendable) => !is_sendable,
            Err(error) if error.is_passing() => {
                warn!(%error, "It is not known whether messages wait; asking again");
                false
            }
            // The command's own next statement meets the same error and reports it.
            Err(_) => true,
        }
    }
}

/// Lanes of encrypted rooms are claimed by the process that has the account's keys.
#[cfg(feature = "encryption")]
fn has_keys(context: &Context) -> HasKeys {
    let devices = context.devices.clone();
    Box::new(move |backend| devices.of(backend).is_some())
}

/// Without encryption no backend encrypts, so nothing is left to others.
#[cfg(not(feature = "encryption"))]
fn has_keys(_context: &Context) -> HasKeys {
    Box::new(|_| false)
}

fn pause_after(round: &Round, decay: &mut Duration) -> Duration {
    if !round.is_idle {
        *decay = DECAY_FROM;
        return Duration::ZERO;
    }
    let mut pause = if *decay > DECAY_UNTIL { backoff::with_jitter(POLL) } else { *decay };
    *decay = (*decay * DECAY_FACTOR).min(DECAY_UNTIL * 2);
    if round.busy_elsewhere > 0 {
        pause = pause.min(POLL_LEASED);
    }
    round.next_due.map_or(pause, |due| pause.min(due))
}

fn pause_of_trouble(error: &StoreError, pause: Duration) -> Duration {
    if error.is_passing() {
        warn!(%error, pause_ms = pause.as_millis(), "No messages could be claimed; trying again");
        return pause;
    }
    error!(%error, "No messages can be claimed until this is fixed");
    CONTRACT_POLL
}
