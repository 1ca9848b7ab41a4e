//! Delivers the Matrix outbox of Odoo: in order within a room, once, with a log.
//!
//! In reading order: [`message`] holds the words; [`environment`] is where settings come from and `config` what they may be; [`store`]
//! runs every statement and [`matrix`] makes every call; `claimer` picks lanes, `lane` sends one, `flush` writes down what became
//! of it, `leases` keeps what is held; `runner` joins them. `follower` goes the other way: it passes on to Odoo,
//! through its `webhook`, what others write in Matrix. `survey` counts what waits; `health` and [`metrics`] are
//! what others may know of the process, `endpoint` and `systemd` show it; `terminal` shows the progress of a
//! command. [`cli`] puts the parts together.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test panics where it fails"))]

mod backend;
mod backoff;
mod causes;
mod claimer;
pub mod cli;
mod config;
#[cfg(feature = "encryption")]
pub mod crypto;
mod duration;
mod endpoint;
pub mod environment;
pub mod failpoint;
mod flush;
mod follower;
mod health;
mod http;
mod lane;
mod leases;
pub mod matrix;
pub mod message;
pub mod metrics;
mod privileges;
mod reached;
mod rooms;
mod runner;
pub mod seal;
mod shutdown;
pub mod store;
mod survey;
mod systemd;
pub mod telemetry;
mod terminal;
mod webhook;
