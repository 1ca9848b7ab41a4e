//! What a worker does with the answers to its messages, as `src/lane.rs` does it.

use std::time::{Duration, Instant};

use odoo_matrix_worker::{
    message::{EventId, Failure, Message},
    store::{Claim, Completion, Held, Verdict},
};

use super::{
    Answer,
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
        let attempts = 1 + work.claim.held.filter(|held| held.id == message.id).map_or(0, |held| held.attempts);
        let room = &self.model.lanes[lane].room;
        let behind = &work.claim.messages[work.next + 1..];
        let is_suspect = work.claim.held.is_some_and(|held| held.id == message.id);
        // A look at the room: one that was tried past this message may have arrived although its answer was lost.
        let arrived = behind.iter().find(|other| room.contains(&other.id)).filter(|_| is_suspect);
        let verdict = match (answer, arrived) {
            _ if room.contains(&message.id) && (is_suspect || matches!(answer, Answer::Sent | Answer::Rejected)) => {
                sent(message)
            }
            (_, Some(other)) => {
                self.model.given_up.insert(message.id, other.id);
                Verdict::Failed(failure())
            }
            (Answer::Sent, None) => {
                self.model.accepts(lane, message.id);
                sent(message)
            }
            (Answer::Lost, None) => {
                self.model.accepts(lane, message.id);
                // As after a timeout of the retry as well: stuck, though it is there.
                Verdict::Stuck(failure())
            }
            (Answer::Rejected, None) => Verdict::Failed(failure()),
            (Answer::Away, None) => Verdict::Stuck(failure()),
        };
        if let Verdict::Stuck(failure) = &verdict {
            work.held = Some(Held { id: message.id, attempts, error: Some(failure.clone()) });
        }
        work.completions.push(completion(message, &work.claim, verdict, attempts));
        work.next += 1;
    }

    /// The message behind the one at which the claim is stuck meets `answer`. If it is taken, the other one is given up, unless the
    /// room has that too.
    pub(super) fn send_past(&mut self, worker: usize, lane: usize, answer: Answer) {
        let Some(work) = self.workers[worker].get_mut(&lane) else { return };
        let Work { claim, next, is_late, completions, held: Some(held) } = work else { return };
        let (head, Some(message)) = (&claim.messages[*next - 1], claim.messages.get(*next)) else { return };
        // It comes under suspicion when a claim finds it stuck, not in the claim in which it got stuck.
        if *is_late || head.id != held.id || claim.held.is_none_or(|before| before.id != head.id) {
            return;
        }
        let room = &self.model.lanes[lane].room;
        let answer = match answer {
            // A homeserver that has it says so.
            Answer::Rejected if room.contains(&message.id) => Answer::Sent,
            answer => answer,
        };
        match answer {
            Answer::Away => {}
            Answer::Lost => self.model.accepts(lane, message.id),
            Answer::Rejected => {
                completions.push(completion(message, claim, Verdict::Failed(failure()), 1));
                *next += 1;
                // The one at which it is stuck stays just before the next one.
                claim.messages.swap(*next - 2, *next - 1);
            }
            Answer::Sent => {
                let verdict = if room.contains(&head.id) {
                    sent(head)
                } else {
                    self.model.given_up.insert(head.id, message.id);
                    Verdict::Failed(failure())
                };
                self.model.accepts(lane, message.id);
                // The head is no longer stuck, so there is nothing to report about it.
                completions.retain(|done| done.id != head.id);
                completions.push(completion(head, claim, verdict, held.attempts));
                completions.push(completion(message, claim, sent(message), 1));
                *next += 1;
                work.held = None;
            }
        }
    }
}

fn failure() -> Failure {
    Failure::new("M_TEST", "made to fail")
}

fn sent(message: &Message) -> Verdict {
    Verdict::Sent(EventId::new(format!("${}", message.id)))
}

fn completion(message: &Message, claim: &Claim, verdict: Verdict, attempts: i32) -> Completion {
    Completion {
        id: message.id,
        lease: claim.lease(),
        verdict,
        attempts,
        duration_ms: 1,
        room: None,
        answered: Instant::now(),
        event_type: message.event_type.clone(),
        queued_for: Duration::ZERO,
    }
}
