//! `bench`: what the worker delivers, beside what this machine could at most. Limits and worker are measured in one run, for
//! machines and their hours differ.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

mod double;
mod limits;
mod plan;
mod plot;
mod site;
mod table;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use serde_json::json;
use stack::usage;

/// Measures the worker's release build against a homeserver that takes everything, on a PostgreSQL that keeps what it is given.
#[derive(Parser)]
pub(crate) struct Cli {
    /// The worker.
    #[arg(long, default_value = "target/release/odoo-matrix-worker", value_name = "FILE")]
    binary: PathBuf,
    /// Every drain is measured so many times; the median counts.
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=9))]
    times: u64,
    /// One part only.
    #[arg(long, value_name = "PART")]
    only: Option<plan::Part>,
    /// One tenth of the messages: to try the program, not the worker.
    #[arg(long)]
    small: bool,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// Also draw the scaling to this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// The bare loop of requests, which runs in a process of its own as the worker does.
    #[arg(long, hide = true, num_args = 3, value_names = ["URL", "CONCURRENCY", "SECONDS"])]
    bare: Option<Vec<String>>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(bare) = &cli.bare {
        println!("{}", limits::bare(&bare[0], bare[1].parse()?, bare[2].parse()?).await?);
        return Ok(());
    }
    let report = plan::run(&cli).await?;
    if let Some(path) = &cli.svg {
        std::fs::write(path, plot::draw(&report.scaling))?;
    }
    if cli.json {
        println!("{:#}", json!({ "machine": usage::machine(), "figures": report.figures, "scaling": report.scaling }));
    } else {
        println!("\n{}\n\n{}", usage::machine(), table::markdown(&report));
    }
    Ok(())
}
