//! The worker on a real PostgreSQL, against a homeserver that fails on demand.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod appservice;
mod changes;
mod check;
mod contract;
mod database_copy;
mod databases;
mod delivery;
mod direct;
mod drain;
mod encrypted_before;
mod endpoint;
mod files;
mod follower;
mod follower_back;
mod follower_looks;
mod follower_missing;
mod follower_removed;
mod follower_replaced;
mod given_up;
mod history;
mod http_proxy;
mod idle;
mod invitations;
mod joining;
mod keys;
mod lanes;
mod limits;
mod memory;
mod metrics;
mod migrations;
mod outage;
mod pause;
mod pty;
mod refusals;
mod room_checks;
mod rooms;
mod security;
mod several_backends;
mod several_workers;
mod status;
mod synapse;
mod systemd;
mod terminal;
mod threads;
mod tls_authorities;
mod tls_database;
mod watched;
#[cfg(not(feature = "encryption"))]
mod without_encryption;

/// The worker under test.
const BINARY: &str = env!("CARGO_BIN_EXE_odoo-matrix-worker");
