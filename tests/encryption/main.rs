//! End-to-end encryption: what the worker stores in PostgreSQL, and what others can read.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod account;
mod asking;
mod bad_input;
mod delivery;
mod dialog;
mod faults;
mod kills;
mod not_set_up;
mod others;
mod people;
mod receiving;
mod relations;
mod sending;
mod service;
mod setup;
mod store;
mod through_service;
mod throughput;
mod troubles;
mod verified;
mod withheld;

/// The worker under test.
const BINARY: &str = env!("CARGO_BIN_EXE_odoo-matrix-worker");
