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
mod forgetful;
mod large;
mod latency;
mod outage;
mod pacing;
mod plans;
mod property;
mod shard;
mod turn;
mod wakeup;

/// The worker under test.
const BINARY: &str = env!("CARGO_BIN_EXE_odoo-matrix-worker");
