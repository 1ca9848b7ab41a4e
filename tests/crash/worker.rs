//! The worker with its failpoints, as a program of its own, so that no build of the real one can have them.

#[path = "../../src/main.rs"]
mod worker;

use worker::main;
