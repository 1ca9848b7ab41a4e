//! `odoo-matrix-worker`: from the command line to the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use odoo_matrix_worker::{cli::Cli, telemetry};

#[tokio::main]
pub(crate) async fn main() -> ExitCode {
    let cli = Cli::parse();
    // A variable that is not Unicode cannot be one of ours.
    let given =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let given = given.collect();
    let prefix = if telemetry::is_journal(&given) { "<3>" } else { "" };
    let environment = match cli.environment(given) {
        Ok(environment) => environment,
        Err(error) => return failed(prefix, &error.to_string(), 78),
    };
    if let Err(error) = telemetry::start(&environment) {
        return failed(prefix, &error.to_string(), 78);
    }
    match cli.run(&environment).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(prefix, &error.to_string(), error.exit_code()),
    }
}

#[expect(clippy::print_stderr, reason = "the last message of the program")]
fn failed(prefix: &str, error: &str, code: u8) -> ExitCode {
    eprintln!("{prefix}odoo-matrix-worker: {error}");
    ExitCode::from(code)
}
