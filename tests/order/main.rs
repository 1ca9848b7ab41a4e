//! Order, answers, plans and big backlogs: the worker on a real PostgreSQL against a homeserver that fails on demand, and its
//! statements against a model. What is measured becomes a row of the reliability table.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod answers;
mod backlog;
mod batches;
mod claims;
mod commits;
mod cost;
mod fairness;
mod forgotten_transactions;
mod large;
mod latency;
mod outage_or_poison;
mod pacing;
mod partly_down;
mod plans;
mod property;
mod wakeup;

/// The worker under test.
const BINARY: &str = env!("CARGO_BIN_EXE_odoo-matrix-worker");
