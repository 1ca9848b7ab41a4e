//! The worker on a real PostgreSQL, against a homeserver that fails on demand.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod authorities;
mod changes;
mod check;
mod contract;
mod copied;
mod databases;
mod delivery;
mod direct;
mod endpoint;
mod follower;
mod history;
mod idle;
mod invitations;
mod lanes;
mod limits;
mod looks;
mod memory;
mod metrics;
mod migrations;
mod outage;
mod pause;
mod proxied;
mod refusals;
mod rooms;
mod security;
mod several;
mod status;
mod synapse;
mod systemd;
mod turns;
mod watched;

/// The worker under test.
const BINARY: &str = env!("CARGO_BIN_EXE_odoo-matrix-worker");
