//! What a worker does with the answers to its messages, as `src/lane.rs` does it.

use std::time::{Duration, Instant};

use odoo_matrix_worker::{
    message::{EventId, Failure},
    store::{Batch, Claim, Completion, Held, Verdict},
};

use super::{
    Answer,
    model::Id,
    world::{Play, Work},
};

impl Play<'_> {
    /// The next message of the worker's claim meets `answer`.
    pub(super) fn send(&mut self, worker: usize, lane: usize, answer: Answer) {
        let Some(work) = self.workers[worker].get_mut(&lane) else { return };
        let Some(message) = work.claim.messages.get(work.next) else { return };
        if work.is_late || work.held.is_some() {
            return;
        }
        let (id, held) = (message.id, work.claim.held);
        let attempts = 1 + held.filter(|held| held.id == id).map_or(0, |held| held.attempts);
        // A look at the room: what was tried past others that failed may have arrived although its answer was lost.
        let (overtaken, behind) = if held.is_some() { self.model.overtaken(lane) } else { Default::default() };
        if overtaken.contains(&id) {
            // Those behind this claim's last message wait for a greater one.
            if !overtaken.iter().all(|id| work.claim.messages.iter().any(|message| message.id == *id)) {
                return;
            }
            // The head last: as long as it waits its lane is under suspicion.
            let is_head = |id: &Id| held.is_some_and(|held| held.id == *id);
            for id in overtaken.iter().filter(|id| !is_head(id)).chain(overtaken.iter().filter(|id| is_head(id))) {
                self.model.given_up.insert(*id, behind);
                work.completions.push(completion(*id, &work.claim, Verdict::Failed(failure()), attempts));
            }
            work.claim.messages.retain(|message| !overtaken.contains(&message.id));
            return;
        }
        let is_there = self.model.lanes[lane].room.contains(&id);
        let verdict = match answer {
            _ if is_there && (held.is_some() || matches!(answer, Answer::Sent | Answer::Rejected)) => sent(id),
            Answer::Sent => {
                self.model.accepts(lane, id);
                sent(id)
            }
            Answer::Lost => {
                self.model.accepts(lane, id);
                // As after a timeout of the retry as well: stuck, though it is there.
                Verdict::Stuck(failure())
            }
            Answer::Rejected => Verdict::Failed(failure()),
            Answer::Away => Verdict::Stuck(failure()),
        };
        if let Verdict::Stuck(failure) = &verdict {
            work.held = Some(Held { id, attempts, error: Some(failure.clone()), begins_anew: false });
        }
        work.completions.push(completion(id, &work.claim, verdict, attempts));
        work.next += 1;
    }

    /// The next message behind the one at which the claim is stuck meets `answer`. If it is taken, the stuck one and those that were
    /// passed over on the way are given up, unless the room has them too.
    pub(super) async fn send_past(&mut self, worker: usize, lane: usize, answer: Answer) -> Result<(), String> {
        let Some(work) = self.workers[worker].get_mut(&lane) else { return Ok(()) };
        let Work { claim, next, is_late, completions, held: Some(held), passed_over } = work else { return Ok(()) };
        let Some(message) = claim.messages.get(*next) else { return Ok(()) };
        // It comes under suspicion when a claim finds it stuck, not in the claim in which it got stuck.
        if *is_late || claim.held.is_none() {
            return Ok(());
        }
        if let Some(before) = passed_over.last() {
            // Written down before another one is tried: whoever takes over must know which ones failed.
            let reported = Batch {
                completions: vec![completion(*before, claim, Verdict::Stuck(failure()), 1)],
                settles: Vec::new(),
            };
            let owned = self.setup.stores[worker].complete(&reported).await.map_err(|error| error.to_string())?;
            if owned.is_empty() {
                *is_late = true;
                return Ok(());
            }
            self.model.reported.insert(*before);
        }
        let room = &self.model.lanes[lane].room;
        let answer = match answer {
            // A homeserver that has it says so.
            Answer::Rejected if room.contains(&message.id) => Answer::Sent,
            answer => answer,
        };
        match answer {
            Answer::Away => {
                passed_over.push(message.id);
                *next += 1;
            }
            Answer::Lost => self.model.accepts(lane, message.id),
            Answer::Rejected => {
                completions.push(completion(message.id, claim, Verdict::Failed(failure()), 1));
                *next += 1;
            }
            Answer::Sent => {
                // Nothing about the head is left to write: it is not stuck any more.
                completions.retain(|done| done.id != held.id);
                for id in passed_over.drain(..).chain([held.id]) {
                    let verdict = if room.contains(&id) {
                        sent(id)
                    } else {
                        self.model.given_up.insert(id, message.id);
                        Verdict::Failed(failure())
                    };
                    completions.push(completion(id, claim, verdict, held.attempts));
                }
                self.model.accepts(lane, message.id);
                completions.push(completion(message.id, claim, sent(message.id), 1));
                *next += 1;
                work.held = None;
            }
        }
        Ok(())
    }
}

fn failure() -> Failure {
    Failure::new("M_TEST", "made to fail")
}

fn sent(id: Id) -> Verdict {
    Verdict::Sent(EventId::new(format!("${id}")))
}

fn completion(id: Id, claim: &Claim, verdict: Verdict, attempts: i32) -> Completion {
    Completion {
        id,
        lease: claim.lease(),
        verdict,
        note: None,
        attempts,
        duration_ms: 1,
        room: None,
        answered: Instant::now(),
        event_type: "manual".to_owned(),
        queued_for: Duration::ZERO,
    }
}
