//! What people write in Matrix, on real parts: read by the worker, or sent to Odoo as to an application service.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

mod appservice;
mod away;
mod common;
mod follow;
mod restarts;
mod sending;
mod two_databases;
