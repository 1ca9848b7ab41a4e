//! What a crash, a failing database or a machine with a wrong clock costs: time, which is measured, and never a
//! message.
//!
//! Tests that measure time have the machine to themselves; those that wait for long may wait side by side.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod chaos;
mod clock;
mod common;
mod database_refuses;
mod direct;
mod discarded;
mod files;
mod follower;
mod half_open;
mod homeserver_down;
mod kill;
mod lost_commit;
mod partition;
mod restart;
mod sqlstates;
mod standby;
mod stop;

/// The worker under test.
const BINARY: &str = env!("CARGO_BIN_EXE_odoo-matrix-worker");
