//! Plays a sequence on the database and checks at each step whether the model agrees.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use odoo_matrix_worker::{
    message::Lane,
    metrics::Metrics,
    store::{Batch, Claim, Completion, Held, Settle, Store, Verdict, Wanted},
};
use stack::world::World;
use tokio_postgres::Client;

use super::{
    Answer, LANES, PRODUCERS, Step, WORKERS,
    model::{Id, Lease, Model},
};
use crate::BINARY;

macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}

type Checked = Result<(), String>;

/// One database for all sequences; each has a backend of its own.
pub(super) struct Setup {
    world: World,
    pub(super) stores: Vec<Store>,
    producers: Vec<Client>,
}

/// What a worker knows of a lane that it has claimed.
pub(super) struct Work {
    pub(super) claim: Claim,
    pub(super) next: usize,
    /// The lease has run out, by the worker's own clock too.
    pub(super) is_late: bool,
    pub(super) completions: Vec<Completion>,
    pub(super) held: Option<Held>,
    /// Tried after the held one and refused alike, in this claim.
    pub(super) passed_over: Vec<Id>,
}

/// One sequence on its way.
pub(super) struct Play<'a> {
    pub(super) setup: &'a Setup,
    backend: i32,
    pub(super) model: Model,
    pub(super) workers: [HashMap<usize, Work>; WORKERS],
}

impl Setup {
    pub(super) async fn new() -> Self {
        let world = World::new(BINARY).await;
        let mut stores = Vec::new();
        for number in 0..WORKERS {
            let (url, name) = (world.launch.url(), format!("w{number}"));
            stores.push(Store::new(&url, &name, Duration::from_secs(30), Metrics::default()).unwrap());
        }
        let mut producers = Vec::new();
        for _ in 0..PRODUCERS {
            producers.push(world.database.connect().await.unwrap());
        }
        Self { world, stores, producers }
    }

    pub(super) async fn play(&mut self, sequence: &[Step]) -> Checked {
        for producer in &self.producers {
            producer.batch_execute("ROLLBACK").await.unwrap();
        }
        let client = &self.world.client;
        client.batch_execute("UPDATE matrix_backend SET is_active = false; DELETE FROM matrix_outbox").await.unwrap();
        let backend = self.world.add_backend("http://localhost", "").await;
        let mut play = Play { setup: self, backend, model: Model::new(), workers: Default::default() };
        for step in sequence {
            play.step(step).await?;
        }
        play.finish().await
    }
}

impl Play<'_> {
    async fn step(&mut self, step: &Step) -> Checked {
        match *step {
            Step::Insert { producer, lane } => self.insert(producer, lane).await,
            Step::Commit { producer } => {
                self.setup.producers[producer].batch_execute("COMMIT").await.unwrap();
                self.model.commit(producer);
                Ok(())
            }
            Step::Rollback { producer } => {
                self.setup.producers[producer].batch_execute("ROLLBACK").await.unwrap();
                self.model.open[producer].clear();
                Ok(())
            }
            Step::Claim { worker, most, rows } => self.claim(worker, most, rows).await,
            Step::Send { worker, lane, answer } => {
                self.send(worker, lane, answer);
                Ok(())
            }
            Step::Past { worker, lane, answer } => self.send_past(worker, lane, answer).await,
            Step::Rested { lane } => {
                self.rested(lane).await;
                Ok(())
            }
            Step::Complete { worker, lane, is_released, times } => {
                self.complete(worker, lane, is_released, times).await
            }
            Step::Expire { lane } => {
                self.expire(lane).await;
                Ok(())
            }
            Step::Crash { worker } => {
                self.workers[worker].clear();
                Ok(())
            }
        }
    }

    fn name(&self, lane: usize) -> Lane {
        Lane::new(format!("{}/!{lane}", self.backend))
    }

    async fn insert(&mut self, producer: usize, lane: usize) -> Checked {
        let client = &self.setup.producers[producer];
        if self.model.open[producer].is_empty() {
            client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        }
        let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
            VALUES ($1, 'manual', $2, '{}', gen_random_uuid()::text) RETURNING id";
        let id = client.query_one(sql, &[&self.backend, &format!("!{lane}")]).await.unwrap().get(0);
        self.model.insert(producer, lane, id);
        Ok(())
    }

    async fn claim(&mut self, worker: usize, most: usize, rows: usize) -> Checked {
        let store = &self.setup.stores[worker];
        let ring = store.ring(&HashMap::new(), LANES).await.map_err(|error| error.to_string())?;
        let found: Vec<_> = ring.lanes.into_iter().map(|(_, lane)| lane).collect();
        let free = self.model.leasable();
        ensure!(
            found == free.iter().map(|&lane| self.name(lane)).collect::<Vec<_>>(),
            "the ring finds {found:?}, {free:?} are free"
        );
        // What it still holds itself a worker does not ask for, late or not.
        let mine: HashSet<_> = self.workers[worker].keys().map(|&lane| self.name(lane)).collect();
        let asked: Vec<_> = found.into_iter().filter(|lane| !mine.contains(lane)).collect();
        let leasable: Vec<_> = free.into_iter().filter(|&lane| asked.contains(&self.name(lane))).collect();
        let wanted = Wanted {
            backend: self.backend,
            lanes: &asked,
            most,
            messages: rows,
            bytes: 1 << 20,
            is_paced: false,
            remembered_for: Duration::from_secs(3600),
        };
        let claims = store.claim(&wanted).await.map_err(|error| error.to_string())?;
        ensure!(
            claims.len() == leasable.len().min(most),
            "claimed {claims:?}, leasable were {leasable:?}, at most {most}"
        );
        for claim in claims {
            let number = leasable.iter().copied().find(|&lane| self.name(lane) == claim.lane);
            let Some(number) = number else { return Err(format!("{} was not to be leased", claim.lane)) };
            let lane = &mut self.model.lanes[number];
            lane.epoch += 1;
            ensure!(claim.epoch == lane.epoch, "epoch {} of {}, not {}", claim.epoch, claim.lane, lane.epoch);
            ensure!(claim.is_taken_over == (lane.lease == Lease::Expired), "taken over: {claim:?}");
            let ids: Vec<_> = claim.messages.iter().map(|message| message.id).collect();
            let wanted: Vec<_> = lane.waiting.iter().take(rows).copied().collect();
            ensure!(ids == wanted, "{} holds {wanted:?}, read were {ids:?}", claim.lane);
            let held = claim.held.map(|held| (held.id, held.attempts));
            ensure!(held == lane.held, "{} is held at {:?}, read was {held:?}", claim.lane, lane.held);
            lane.lease = Lease::Held;
            let work =
                Work { claim, next: 0, is_late: false, completions: Vec::new(), held: None, passed_over: Vec::new() };
            self.workers[worker].insert(number, work);
        }
        Ok(())
    }

    async fn complete(&mut self, worker: usize, lane: usize, is_released: bool, times: usize) -> Checked {
        let Some(mut work) = self.workers[worker].remove(&lane) else { return Ok(()) };
        let mut batch = Batch { completions: std::mem::take(&mut work.completions), settles: Vec::new() };
        let lease = work.claim.lease();
        if is_released {
            // Longer than any sequence: it ends when the sequence says so.
            let rest = work.held.is_some().then_some(Duration::from_secs(600));
            batch.settles.push(Settle::Release { lease: lease.clone(), held: work.held.clone(), rest });
        }
        if !batch.is_empty() {
            let is_ours = lease.epoch == self.model.lanes[lane].epoch;
            let wanted = HashSet::from_iter(is_ours.then_some(lease));
            for _ in 0..times {
                let owned = self.setup.stores[worker].complete(&batch).await.map_err(|error| error.to_string())?;
                ensure!(owned == wanted, "owned {owned:?}, not {wanted:?}");
            }
            if is_ours {
                self.completed(lane, &batch, &work, is_released);
            }
        }
        if !is_released {
            self.workers[worker].insert(lane, work);
        }
        Ok(())
    }

    fn completed(&mut self, number: usize, batch: &Batch, work: &Work, is_released: bool) {
        let lane = &mut self.model.lanes[number];
        for completion in &batch.completions {
            match completion.verdict {
                Verdict::Stuck(_) => {
                    self.model.reported.insert(completion.id);
                    continue;
                }
                Verdict::Failed(_) => {
                    self.model.failed.insert(completion.id);
                }
                Verdict::Sent(_) => {}
            }
            lane.waiting.remove(&completion.id);
        }
        // One that was committed late, with a lower id, does not take the place of the head that is known to fail.
        let held = work.held.as_ref().map(|held| (held.id, held.attempts));
        let is_waiting = |&(id, _): &(Id, i32)| lane.waiting.contains(&id);
        let before = lane.held.filter(is_waiting);
        lane.held = match (before, held) {
            (Some((id, _)), Some((same, attempts))) if id == same => Some((id, attempts)),
            (Some(before), _) => Some(before),
            (None, held) => held.filter(is_waiting),
        };
        if is_released {
            lane.lease = Lease::Free;
            lane.is_resting |= work.held.is_some();
        }
    }

    async fn rested(&mut self, lane: usize) {
        let sql = "UPDATE matrix_lane SET retry_at = now() AT TIME ZONE 'UTC' WHERE lane = $1 AND retry_at IS NOT NULL";
        self.setup.world.client.execute(sql, &[&self.name(lane).as_str()]).await.unwrap();
        self.model.lanes[lane].is_resting = false;
    }

    async fn expire(&mut self, lane: usize) {
        let sql = "UPDATE matrix_lane SET lease_until = now() AT TIME ZONE 'UTC' - interval '1 s'
            WHERE lane = $1 AND lease_until IS NOT NULL";
        self.setup.world.client.execute(sql, &[&self.name(lane).as_str()]).await.unwrap();
        if self.model.lanes[lane].lease == Lease::Held {
            self.model.lanes[lane].lease = Lease::Expired;
        }
        for worker in &mut self.workers {
            if let Some(work) = worker.get_mut(&lane) {
                work.is_late = true;
            }
        }
    }

    /// Lets everything come to its end, then compares all of it.
    async fn finish(&mut self) -> Checked {
        for producer in 0..PRODUCERS {
            let step = if producer == 0 { Step::Rollback { producer } } else { Step::Commit { producer } };
            self.step(&step).await?;
        }
        for lane in 0..LANES {
            self.expire(lane).await;
        }
        // A late worker still tries to write what it knows, and may: nobody has taken over.
        for (worker, lane) in (0..WORKERS).flat_map(|worker| (0..LANES).map(move |lane| (worker, lane))) {
            self.complete(worker, lane, true, 1).await?;
        }
        for lane in 0..LANES {
            self.rested(lane).await;
        }
        while self.model.lanes.iter().any(|lane| !lane.waiting.is_empty()) {
            self.claim(0, LANES, 32).await?;
            for lane in 0..LANES {
                while self.workers[0].get(&lane).is_some_and(|work| work.next < work.claim.messages.len()) {
                    self.send(0, lane, Answer::Sent);
                }
                self.complete(0, lane, true, 1).await?;
            }
        }
        self.check().await
    }

    async fn check(&self) -> Checked {
        let client = &self.setup.world.client;
        let left: i64 = client.query_one("SELECT count(*) FROM matrix_outbox", &[]).await.unwrap().get(0);
        ensure!(left == 0, "{left} rows are left in the outbox");
        let sql = "SELECT outbox_id, status, is_final FROM matrix_log WHERE backend_id = $1 ORDER BY id";
        let mut finals: HashMap<Id, Vec<String>> = HashMap::new();
        let mut reported: HashMap<Id, usize> = HashMap::new();
        for row in client.query(sql, &[&self.backend]).await.unwrap() {
            if row.get(2) {
                finals.entry(row.get(0)).or_default().push(row.get(1));
            } else {
                *reported.entry(row.get(0)).or_default() += 1;
            }
        }
        let committed = self.model.committed();
        for id in &committed {
            let wanted = if self.model.failed.contains(id) { "failed" } else { "ok" };
            ensure!(
                finals.get(id).is_some_and(|rows| rows == &[wanted]),
                "final rows of {id}: {:?}, not one «{wanted}»",
                finals.get(id)
            );
        }
        ensure!(finals.len() == committed.len(), "final rows of messages that were never committed: {finals:?}");
        ensure!(
            reported.keys().copied().collect::<HashSet<_>>() == self.model.reported,
            "held rows {reported:?}, not {:?}",
            self.model.reported
        );
        ensure!(
            reported.values().all(|&count| count == 1),
            "a message was reported more than once while it was held: {reported:?}"
        );
        let delivered: BTreeSet<_> = self.model.lanes.iter().flat_map(|lane| lane.room.iter().copied()).collect();
        let wanted: BTreeSet<_> = committed.iter().copied().filter(|id| !self.model.failed.contains(id)).collect();
        ensure!(delivered == wanted, "delivered {delivered:?}, not {wanted:?}");
        self.model.check_given_up()?;
        self.model.check_order()
    }
}
