//! The worker with its failpoints, as a program of its own, so that no build of the real one can have them.
#![cfg_attr(test, allow(dead_code, reason = "what tests a program has a main of its own"))]

#[path = "../../src/main.rs"]
mod worker;

use worker::main;
