//! `odoo-matrix-worker`: from the command line to the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use odoo_matrix_worker::{cli::Cli, telemetry};

#[tokio::main]
pub(crate) async fn main() -> ExitCode {
    let cli = Cli::parse();
    let lookup = |name: &str| std::env::var(name).ok();
    if let Err(error) = telemetry::start(lookup("LOG_FORMAT").as_deref(), lookup("RUST_LOG").as_deref()) {
        return told(&error, 78);
    }
    match cli.run(lookup).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => told(&error.to_string(), error.exit_code()),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of the program")]
fn told(error: &str, code: u8) -> ExitCode {
    eprintln!("odoo-matrix-worker: {error}");
    ExitCode::from(code)
}
