//! The command line: one file per subcommand that does more than print.

mod check;
mod deliver;
mod grants;

use clap::{Parser, Subcommand};
use thiserror::Error;

use crate::{
    config::{Config, ConfigError},
    store::StoreError,
};

/// The tables of the contract for a database without Odoo: what its ORM makes, then the addon's own file.
const SCHEMA: [&str; 2] =
    [include_str!("../sql/schema.sql"), include_str!("../odoo_addon/mail_matrix/sql/contract.sql")];

/// Delivers the Matrix messages that Odoo has queued in PostgreSQL: in order within a room, once, with a log.
///
/// Needs DATABASE_URL (postgresql://user:password@host:5432/database) and, when Odoo seals its access tokens,
/// MATRIX_TOKEN_KEY_FILE. README.md lists all variables.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Deliver until stopped. SIGTERM finishes what is in flight; a second one ends at once.
    Run,
    /// Deliver what waits now, then exit: 0 when all went out, 1 when something failed or must wait.
    Drain,
    /// Look whether everything is ready: database, tables, rights, homeservers. Changes nothing.
    Check,
    /// Print the SQL that gives a database role the rights of the worker, no more. Run it as the owner of Odoo's database.
    Grants {
        /// The role, which must exist.
        #[arg(long)]
        role: String,
    },
    /// Print the SQL of the tables, for a database without Odoo.
    Schema,
}

/// Why a command ends badly. The exit codes are those of sysexits.h.
#[derive(Debug, Error)]
pub enum CliError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    BadConfig(String),
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Something failed and has been told.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::BadConfig(_) => 78,
            Self::Store(_) => 69,
            Self::Failed(_) => 1,
        }
    }
}

impl Cli {
    /// Runs the command. `lookup` reads environment variables.
    pub async fn run(self, lookup: impl Fn(&str) -> Option<String>) -> Result<(), CliError> {
        match self.command {
            Command::Run => deliver::run(&Config::load(lookup)?).await,
            Command::Drain => deliver::drain(&Config::load(lookup)?).await,
            Command::Check => check::check(&Config::load(lookup)?).await,
            Command::Grants { role } => {
                print(&grants::sql(&role));
                Ok(())
            }
            Command::Schema => {
                print(&SCHEMA.join("\n"));
                Ok(())
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn print(text: &str) {
    println!("{}", text.trim_end());
}
