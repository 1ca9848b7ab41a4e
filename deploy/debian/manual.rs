//! `cargo run --example manual -- FOLDER`: manual pages and completions of shells, from the definition of the command line.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};
use odoo_matrix_worker::cli::Cli;

const NAME: &str = env!("CARGO_PKG_NAME");

fn main() -> Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).context("usage: manual FOLDER")?);
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;
    // Its own flags are on the main page: a page for the help of each command would repeat it.
    clap_mangen::generate_to(Cli::command().name(NAME).disable_help_subcommand(true), &pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), NAME, &completions)?;
    }
    Ok(())
}
