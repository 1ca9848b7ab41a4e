//! The Debian package and its service in a real systemd: what an administrator does, and what may happen to a host.
//!
//! One container goes through all steps in order. The test needs root; without it, it says so and passes.
#![expect(clippy::print_stdout, reason = "it is its own harness: booting a container for each step would take minutes")]

mod office;
mod steps;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use stack::machine;

use crate::office::Office;

/// A step that takes longer is considered hung.
const STEP_WITHIN: Duration = Duration::from_secs(5 * 60);

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo test -- name` runs every test binary; the named test is not in this one, and a single step makes no sense alone.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if filter.is_some_and(|name| !"systemd".contains(&name)) || std::env::args().any(|argument| argument == "--list") {
        return summary(0, 0);
    }
    if let Some(reason) = machine::why_not() {
        println!("systemd: skipped: {reason}");
        return summary(0, 0);
    }
    match all().await {
        Ok((passed, failed)) => summary(passed, failed),
        Err(error) => {
            println!("test the package is built and a container boots ... FAILED\n{error:#}");
            summary(0, 1)
        }
    }
}

/// Runs the steps up to the first that fails: the later ones depend on it.
async fn all() -> Result<(usize, usize)> {
    let mut office = Office::open().await?;
    let mut passed = 0;
    for (sentence, step) in steps::ALL {
        let began = Instant::now();
        let done = tokio::time::timeout(STEP_WITHIN, step(&mut office)).await;
        let seconds = began.elapsed().as_secs_f64();
        match done {
            Ok(Ok(())) => println!("test {sentence} ... ok ({seconds:.1} s)"),
            failed => {
                let reason = match failed {
                    Ok(Err(error)) => format!("{error:#}"),
                    _ => format!("it took longer than {} s", STEP_WITHIN.as_secs()),
                };
                println!("test {sentence} ... FAILED ({seconds:.1} s)\n{reason}\n{}", office.journal().await);
                return Ok((passed, 1));
            }
        }
        passed += 1;
    }
    for figure in &office.figures {
        println!("measured: {figure}");
    }
    Ok((passed, 0))
}

/// In the format of cargo's own harness: `make test` adds these lines up.
fn summary(passed: usize, failed: usize) -> ExitCode {
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
