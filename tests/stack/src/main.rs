//! `stack`: sets up what tests and demo need, shows the demo, runs the checks.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

mod checks;
mod demo;
mod setup;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use stack::package::{self, Package};

/// Real parts on this machine: PostgreSQL, Synapse, Odoo and the worker.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Do,
}

#[derive(Subcommand)]
enum Do {
    /// Start everything, play a day in a law office, and stay up to look around
    Demo {
        /// End after the story; fails when a message is missing
        #[arg(long)]
        exit: bool,
    },
    /// Run every check: format, lint, Rust tests, addon tests, the whole path
    Test {
        /// Only what takes two minutes when it was built before: the inner loop
        #[arg(long)]
        fast: bool,
    },
    /// Run the addons' tests on Odoo (`ODOO_CMD`, else Debian's packaged 19.0)
    TestAddons {
        /// Only these addons
        names: Vec<String>,
    },
    /// Write docs/reliability.md from what the tests have measured
    ReliabilityTable,
    /// Download what the others need, and nothing else
    Setup,
    /// Install what boots a container with systemd, where that is possible
    SetupSystemd,
    /// Build the Debian package of the worker
    Deb,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nstack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode> {
    match Cli::parse().command {
        Do::Demo { exit } => demo::run(exit).await,
        Do::Test { fast: true } => checks::fast().await,
        Do::Test { fast: false } => checks::run().await,
        Do::TestAddons { names } => checks::addons(names).await,
        Do::ReliabilityTable => reliability_table(),
        Do::Setup => setup::everything().await.map(|()| ExitCode::SUCCESS),
        Do::SetupSystemd => setup::machine().await.map(|()| ExitCode::SUCCESS),
        Do::Deb => deb().await,
    }
}

async fn deb() -> Result<ExitCode> {
    let package = Package::build().await?;
    let path = package.write(&package.version()?, &package::folder()).await?;
    println!("{}", path.canonicalize()?.display());
    Ok(ExitCode::SUCCESS)
}

fn reliability_table() -> Result<ExitCode> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reliability.md");
    std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))?;
    let before = std::fs::read_to_string(path).unwrap_or_default();
    std::fs::write(path, stack::report::table(&before)?)?;
    println!("docs/reliability.md is written");
    Ok(ExitCode::SUCCESS)
}
