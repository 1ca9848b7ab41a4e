//! Follows one account while its lease holds: reads what comes after the position up to which Odoo has accepted everything,
//! posts it to Odoo, and stores the new position. If it ends between two of these steps, the next follower begins at the
//! same position, and Odoo recognises the events that it already has by their IDs.

#[cfg(feature = "encryption")]
use std::sync::atomic::AtomicBool;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tracing::{debug, warn};

use super::{
    Setup,
    missing::Trail,
    post::Odoo,
    trouble::{Halt, is_forgotten},
};
use crate::{
    backoff::{Backoff, Streak},
    failpoint::{self, Point},
    lane::Context,
    leases::Deadline,
    matrix::Synced,
    message::UserId,
    metrics::OfBackend,
    seal::Keys,
    store::{Asking, Following, Trouble},
};

/// How long the homeserver may wait for new events. Also bounded by the lease.
const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// How long Odoo may take to accept what was read. After that, what is known about rooms counts as out of date.
pub(super) const ACCEPTED_WITHIN: Duration = Duration::from_secs(1);

/// Pause after an answer that had nothing for Odoo.
const ECHO_PAUSE: Duration = Duration::from_millis(200);

/// How often Odoo is called when there is nothing for it. An Odoo that has just started takes seconds for its first request, which
/// would otherwise be a message.
const KNOCK_EVERY: Duration = Duration::from_secs(10);

/// How often a renewal that failed is tried again in a third of a lease.
const RETRIES: u32 = 5;

/// An account that this process follows.
pub(super) struct Account {
    pub(super) context: Arc<Context>,
    pub(super) keys: Keys,
    pub(super) http_timeout: Duration,
    pub(super) asking: Asking,
    pub(super) following: Following,
    pub(super) deadline: Deadline,
    /// The present trouble, as it was reported last.
    pub(super) trouble: Mutex<Option<(Trouble, String)>>,
    /// It is stored and logged that the homeserver does not have the device any more.
    #[cfg(feature = "encryption")]
    pub(super) is_removed: AtomicBool,
}

/// The account, and its position in the homeserver's stream: Odoo has accepted everything before it. If the homeserver itself sends
/// everything to Odoo, it had two minutes to do so instead.
pub(super) type Place = Option<(UserId, String)>;

impl Account {
    pub(super) fn new(
        context: Arc<Context>,
        setup: &Setup,
        asking: Asking,
        following: Following,
        deadline: Deadline,
    ) -> Self {
        let (keys, http_timeout) = (setup.keys.clone(), setup.http_timeout);
        Self {
            context,
            keys,
            http_timeout,
            asking,
            following,
            deadline,
            trouble: Mutex::default(),
            #[cfg(feature = "encryption")]
            is_removed: AtomicBool::new(false),
        }
    }

    /// Ends when another worker follows the account.
    pub(super) async fn follow(self) {
        tokio::select! {
            () = self.keep_lease() => {}
            () = self.read() => {}
        }
        self.context.rooms.of(self.asking.backend).close();
        #[cfg(feature = "encryption")]
        self.context.devices.remove(self.asking.backend);
        self.context.metrics.following.remove(&OfBackend { backend: self.asking.backend });
        warn!("The account is followed by another worker now");
    }

    /// Renews the lease after each third of it; ends when the lease is lost.
    async fn keep_lease(&self) {
        let third = self.context.store.lease() / 3;
        let mut pause = third;
        loop {
            sleep(pause).await;
            let asked = Instant::now();
            pause = match self.context.store.renew_following(&self.following).await {
                Ok(true) => {
                    self.deadline.set(asked + self.context.store.lease());
                    third
                }
                Ok(false) => return,
                Err(error) => {
                    debug!(%error, "The lease of an account was not renewed; trying again");
                    third / RETRIES
                }
            };
        }
    }

    /// Reads until the lease is lost, whatever else goes wrong.
    async fn read(&self) {
        let mut place = self.following.place.clone();
        let mut trail = Trail::new(Instant::now());
        let mut streak = Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).start();
        loop {
            let Err(halt) = self.session(&mut place, &mut trail, &mut streak).await;
            let failed = Instant::now();
            self.context.rooms.of(self.asking.backend).close();
            let pause = match halt {
                Halt::Lost => return,
                Halt::Trouble { trouble, reason } => {
                    self.report(trouble, &reason).await;
                    #[cfg(feature = "encryption")]
                    if self.asking.encrypts {
                        self.context.devices.explain(self.asking.backend, reason);
                    }
                    None
                }
                // Messages for encrypted rooms wait for the end of this, and are not refused.
                #[cfg(feature = "encryption")]
                Halt::Keys { reason, pause } => {
                    self.report(Trouble::Stopped, &reason).await;
                    pause
                }
                Halt::Homeserver(error) => {
                    #[cfg(feature = "encryption")]
                    if self.asking.encrypts {
                        self.context.devices.away(self.asking.backend, &error);
                    }
                    let pause = self.refused(&error).await;
                    if pause.is_none() {
                        // A message or a probe may show before the end of the pause that the homeserver is back.
                        self.context.reached.rest(self.asking.backend, failed, streak.next_pause()).await;
                        continue;
                    }
                    pause
                }
            };
            // The homeserver may have set the pause. Waits for nothing else.
            sleep(pause.unwrap_or_else(|| streak.next_pause())).await;
        }
    }

    /// Reads until something goes wrong.
    async fn session(&self, place: &mut Place, trail: &mut Trail, streak: &mut Streak) -> Result<Infallible, Halt> {
        let homeserver = self.homeserver()?;
        // Before Odoo's side, which messages to Matrix do not need.
        #[cfg(feature = "encryption")]
        let device = self.device(&homeserver, place).await?;
        let webhook = match self.webhook() {
            #[cfg(feature = "encryption")]
            Err(halt) if device.is_some() => {
                return self.hear_only(device.as_ref(), &homeserver, place, streak, halt).await;
            }
            webhook => webhook?,
        };
        if self.asking.wants_events {
            self.knock(webhook.as_ref()).await;
        }
        let mut called = Instant::now();
        let me = homeserver.whoami().await?.user_id;
        let filter = homeserver.upload_filter(&me).await?;
        if self.asking.wants_missing && trail.is_lost(called) {
            *place = None;
        }
        let mut since = match place.take() {
            Some((account, since)) if account == me => since,
            // Odoo has not asked for what was written earlier, or to another account.
            _ => {
                let now = homeserver.stream_now().await?;
                #[cfg(feature = "encryption")]
                self.hear(device.as_ref(), &now).await?;
                self.read_until(&me, &now.next_batch, 0).await?;
                now.next_batch
            }
        };
        *place = Some((me.clone(), since.clone()));
        // The homeserver itself sends everything after that.
        let mut is_missing = true;
        let longest_wait = self.longest_wait();
        let book = self.context.rooms.of(self.asking.backend);
        loop {
            let is_due = self.asking.wants_events && called.elapsed() >= KNOCK_EVERY;
            let knock = async {
                if is_due {
                    self.knock(webhook.as_ref()).await;
                }
            };
            let wait = if self.asking.wants_missing && is_missing { Duration::ZERO } else { longest_wait };
            // Until this call ends, every change of a room is noticed.
            book.hears_until(Instant::now() + wait + self.http_timeout);
            let sync = async {
                let synced = homeserver.sync(&me, &filter, &since, wait).await;
                // At once, because the other call may take longer, and lanes use the book meanwhile.
                if let Ok(synced) = &synced {
                    self.note_changes(synced);
                    #[cfg(feature = "encryption")]
                    self.hear(device.as_ref(), synced).await?;
                }
                Ok::<_, Halt>(synced)
            };
            let calls = async { tokio::join!(sync, knock) };
            #[cfg(feature = "encryption")]
            let calls = self.unless_given_up(device.as_ref(), calls);
            #[cfg(not(feature = "encryption"))]
            let calls = async { Ok::<_, Halt>(calls.await) };
            let (synced, ()) = calls.await?;
            let synced = match synced? {
                Err(error) => {
                    if is_forgotten(&error) {
                        *place = None;
                    }
                    return Err(error.into());
                }
                Ok(synced) => synced,
            };
            streak.reset();
            let answered = Instant::now();
            // While Odoo processes the events nothing is read, so changes are not noticed.
            book.hears_until(answered + ACCEPTED_WITHIN);
            failpoint::reach_if(!synced.rooms.is_empty(), Point::Synced).await;
            let mut accepted = 0;
            let passes_on = self.asking.wants_events || is_missing;
            let has_news = synced.rooms.iter().any(|heard| heard.has_gap || !heard.events.is_empty());
            if let Some(webhook) = webhook.as_ref().filter(|_| passes_on) {
                let odoo = Odoo {
                    webhook,
                    #[cfg(feature = "encryption")]
                    device: device.as_ref(),
                };
                let forward = self.forward(&homeserver, &odoo, &me, &since, synced.rooms);
                #[cfg(feature = "encryption")]
                let forward = self.hear_meanwhile(device.as_ref(), &homeserver, &me, &synced.next_batch, forward);
                accepted = forward.await?;
            }
            failpoint::reach_if(accepted > 0, Point::Forwarded).await;
            let has_all = passes_on || !self.asking.wants_missing;
            if let Some(reached) = trail.reach(Instant::now(), &synced.next_batch, has_all) {
                self.read_until(&me, &reached, accepted).await?;
                *place = Some((me.clone(), reached));
            }
            // Whoever waits for Odoo or the database does not notice that the homeserver is restarted meanwhile.
            is_missing = is_missing && has_news || answered.elapsed() > ACCEPTED_WITHIN;
            since = synced.next_batch;
            if is_due || accepted > 0 {
                called = Instant::now();
            }
            if accepted == 0 {
                // The account's own messages come back too. After a pause, many of them come in one answer.
                sleep(ECHO_PAUSE).await;
            }
        }
    }

    pub(super) fn longest_wait(&self) -> Duration {
        LONGEST_WAIT.min(self.context.store.lease() / 2)
    }

    /// Rooms that have changed are looked at again before the next message.
    pub(super) fn note_changes(&self, synced: &Synced) {
        let book = self.context.rooms.of(self.asking.backend);
        synced.others.iter().for_each(|room| book.forget(room));
        synced.rooms.iter().filter(|heard| heard.is_changed).for_each(|heard| book.forget(&heard.room));
    }

    /// Stores the position up to which Odoo has accepted everything; tries again until the database accepts it.
    async fn read_until(&self, me: &UserId, since: &str, accepted: i64) -> Result<(), Halt> {
        // If Odoo begins to want what is written, it gets nothing from before.
        let since = (self.asking.wants_events || self.asking.wants_missing).then_some(since);
        let mut streak = Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).start();
        loop {
            match self.context.store.read_until(&self.following, me, since, accepted).await {
                Ok(true) => break,
                Ok(false) => return Err(Halt::Lost),
                Err(error) => {
                    let pause = streak.next_pause();
                    warn!(%error, "The position up to which the account was read could not be stored; trying again");
                    sleep(pause).await;
                }
            }
        }
        self.report_well();
        Ok(())
    }
}
