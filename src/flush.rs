//! Collects results and writes them in batches. No result is dropped while the process lives.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

#[cfg(feature = "encryption")]
use tokio::sync::oneshot;
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tracing::{error, warn};

use crate::{
    backoff::Backoff,
    failpoint::{self, Point},
    health::Pulse,
    leases::Leases,
    message::{Failure, Lease, code},
    metrics::{Delivery, Metrics},
    store::{Batch, Completion, Held, Settle, Store, StoreError, Verdict},
};

/// The most results that one statement writes.
const BATCH: usize = 500;

/// The most results that may wait to be written. A full queue makes the lanes wait, which bounds memory while the database is away.
const QUEUE: usize = 2 * BATCH;

/// How long a lane rests whose result the database refused for its data.
const REFUSED_REST: Duration = Duration::from_secs(60);

enum Entry {
    Completion(Completion),
    Settle(Settle),
    /// A lane asks whether everything that it has put before is written.
    #[cfg(feature = "encryption")]
    Asked(Lease, oneshot::Sender<bool>),
}

/// Where lanes put their results.
#[derive(Clone)]
pub(crate) struct Completions(mpsc::Sender<Entry>);

impl Completions {
    pub(crate) async fn complete(&self, completion: Completion) {
        self.put(Entry::Completion(completion)).await;
    }

    pub(crate) async fn settle(&self, settle: Settle) {
        self.put(Entry::Settle(settle)).await;
    }

    /// The same; waits for the database, and returns whether it has the result.
    #[cfg(feature = "encryption")]
    pub(crate) async fn commit(&self, completion: Completion) -> bool {
        let (answer, is_written) = oneshot::channel();
        let lease = completion.lease.clone();
        self.complete(completion).await;
        self.put(Entry::Asked(lease, answer)).await;
        is_written.await.unwrap_or(false)
    }

    async fn put(&self, entry: Entry) {
        // The flusher outlives all lanes, except when we must stop at once. Then the leases end, and another process sends again.
        let _ = self.0.send(entry).await;
    }
}

/// Writes what lanes put, until the last [`Completions`] is gone.
pub(crate) struct Flusher {
    queue: mpsc::Receiver<Entry>,
    /// Notified after lanes were given back.
    pub released: Arc<Notify>,
    metrics: Metrics,
    pulse: Pulse,
    /// For lanes that we still hold: the message whose result the database refused, at which the lane waits.
    refused: HashMap<Lease, Held>,
}

impl Flusher {
    pub(crate) fn new(released: Arc<Notify>, metrics: Metrics, pulse: Pulse) -> (Completions, Self) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Completions(sender), Self { queue, released, metrics, pulse, refused: HashMap::new() })
    }

    pub(crate) async fn run(mut self, store: &Store, leases: &Leases) {
        let mut entries = Vec::with_capacity(BATCH);
        while self.pulse.beat_while(self.queue.recv_many(&mut entries, BATCH)).await > 0 {
            let mut batch = Batch::default();
            #[cfg(feature = "encryption")]
            let mut asked = Vec::new();
            for entry in entries.drain(..) {
                match entry {
                    Entry::Completion(completion) => batch.completions.push(completion),
                    Entry::Settle(settle) => batch.settles.push(settle),
                    #[cfg(feature = "encryption")]
                    Entry::Asked(lease, answer) => asked.push((lease, answer)),
                }
            }
            if !batch.is_empty() {
                failpoint::reach(Point::BeforeFlush).await;
                self.write(store, leases, batch).await;
            }
            #[cfg(feature = "encryption")]
            for (lease, answer) in asked {
                // Whoever asked may have been stopped.
                let _ = answer.send(leases.has(&lease) && !self.refused.contains_key(&lease));
            }
        }
    }

    /// Writes a batch, and repeats it until the database accepts it. A batch that is refused for its data, or takes too long, is
    /// split, so that one bad row does not block the others.
    async fn write(&mut self, store: &Store, leases: &Leases, batch: Batch) {
        let mut streak = Backoff::new(Duration::from_millis(50), Duration::from_secs(2)).start();
        let mut work = vec![batch];
        while let Some(batch) = work.pop() {
            self.pulse.beat();
            match store.complete(&self.held(&batch)).await {
                Ok(owned) => {
                    failpoint::reach(Point::AfterCommit).await;
                    streak.reset();
                    self.written(leases, &batch, &owned);
                }
                Err(StoreError::Data(_)) if batch.len() > 1 => work.extend(halves(batch)),
                Err(error @ StoreError::Cancelled(_)) if batch.len() > 1 => {
                    warn!(%error, results = batch.len(), "Results could not be written in time; trying half of them at once");
                    work.extend(halves(batch));
                }
                Err(StoreError::Data(text)) => work.extend(self.refused(leases, &batch, &text)),
                Err(error) => {
                    let pause = streak.next_pause();
                    if error.is_passing() {
                        warn!(%error, results = batch.len(), pause_ms = pause.as_millis(), "Results could not be written; trying again");
                    } else {
                        error!(%error, results = batch.len(), "Results cannot be written until this is fixed; trying again");
                    }
                    work.push(batch);
                    sleep(pause).await;
                }
            }
        }
    }

    /// The one result that the database refuses. Its lane rests, then the message is sent again under its own transaction id.
    fn refused(&mut self, leases: &Leases, batch: &Batch, text: &str) -> Option<Batch> {
        let Some(completion) = batch.completions.first() else {
            for settle in &batch.settles {
                let lease = settle.lease();
                error!(lane = %lease.lane, error = text, "A lane could not be given back; its lease will end");
                self.forget(leases, lease);
            }
            return None;
        };
        error!(message.id = completion.id, lane = %completion.lease.lane, error = text, "A result could not be logged");
        let failure = Failure::new(code::NOT_LOGGED, format!("the result could not be logged: {text}"));
        let held = Held { id: completion.id, attempts: completion.attempts, error: Some(failure), begins_anew: false };
        // The lane waits at the first refused message.
        let held = self.refused.entry(completion.lease.clone()).or_insert(held).clone();
        // It stays ours: the rest of its claim is still being sent.
        let settle = Settle::Hold { lease: completion.lease.clone(), held, rest: REFUSED_REST };
        Some(Batch { completions: Vec::new(), settles: vec![settle] })
    }

    /// Everything else that is written about a lane with a refused result must say that the lane waits at that message.
    fn held<'a>(&self, batch: &'a Batch) -> Cow<'a, Batch> {
        let mut batch = Cow::Borrowed(batch);
        for lease in batch.leases() {
            let Some(refused) = self.refused.get(&lease).cloned() else { continue };
            let settles = &mut batch.to_mut().settles;
            match settles.iter_mut().find(|settle| *settle.lease() == lease) {
                Some(Settle::Release { held, rest, .. }) => (*held, *rest) = (Some(refused), Some(REFUSED_REST)),
                Some(Settle::Hold { held, rest, .. }) => (*held, *rest) = (refused, REFUSED_REST),
                // Who binds a room writes it without us.
                Some(Settle::Bind { .. }) => {}
                None => settles.push(Settle::Hold { lease, held: refused, rest: REFUSED_REST }),
            }
        }
        batch
    }

    fn written(&mut self, leases: &Leases, batch: &Batch, owned: &HashSet<Lease>) {
        for completion in &batch.completions {
            if !owned.contains(&completion.lease) {
                self.metrics.fenced_completions.inc();
                continue;
            }
            match completion.verdict {
                Verdict::Sent(_) => self.metrics.totals.sent.fetch_add(1, Ordering::Relaxed),
                Verdict::Failed(_) => self.metrics.totals.failed.fetch_add(1, Ordering::Relaxed),
                // It still waits, and is counted once it is sent or has failed.
                Verdict::Stuck(_) => 0,
            };
            count(&self.metrics, completion);
        }
        for lease in batch.leases().difference(owned) {
            warn!(lane = %lease.lane, lease.epoch, "The lane was taken over by another worker; its results count there");
            self.forget(leases, lease);
        }
        let released = batch.settles.iter().filter(|settle| matches!(settle, Settle::Release { .. }));
        let released: Vec<_> = released.map(Settle::lease).collect();
        for lease in &released {
            self.forget(leases, lease);
        }
        if !released.is_empty() {
            self.released.notify_one();
        }
    }

    fn forget(&mut self, leases: &Leases, lease: &Lease) {
        leases.remove(lease);
        self.refused.remove(lease);
    }
}

fn count(metrics: &Metrics, completion: &Completion) {
    let status = match completion.verdict {
        Verdict::Sent(_) => "ok",
        Verdict::Failed(_) => "failed",
        Verdict::Stuck(_) => "held",
    };
    metrics.deliveries.get_or_create(&Delivery { event_type: completion.event_type.clone(), status }).inc();
    if status == "ok" {
        metrics.delivery_duration_seconds.observe(f64::from(completion.duration_ms) / 1000.0);
        metrics.queued_to_sent_seconds.observe(completion.queued_for.as_secs_f64());
    }
}

/// Splits a batch in two. What becomes of a lane goes with the later half: a lane must not be released before its results are written.
fn halves(mut batch: Batch) -> [Batch; 2] {
    if batch.completions.is_empty() {
        let settles = batch.settles.split_off(batch.settles.len() / 2);
        return [Batch { completions: Vec::new(), settles }, batch];
    }
    if batch.completions.len() == 1 {
        // Last in, first out: the result is written before the lane is settled.
        return [
            Batch { completions: Vec::new(), settles: std::mem::take(&mut batch.settles) },
            Batch { completions: batch.completions, settles: Vec::new() },
        ];
    }
    let later = batch.completions.split_off(batch.completions.len() / 2);
    [
        Batch { completions: later, settles: batch.settles },
        Batch { completions: batch.completions, settles: Vec::new() },
    ]
}
