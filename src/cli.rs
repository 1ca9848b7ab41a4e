//! The command line: one file per subcommand that does more than print.

mod backends;
mod bench;
mod check;
mod deliver;
mod grants;
mod lanes;
mod pause;
mod resume;
mod status;
mod table;

use std::io::{ErrorKind, Write as _};

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use thiserror::Error;

use crate::{
    config::{Config, ConfigError},
    message::BackendId,
    store::{self, Store, StoreError},
};

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
    /// Show how delivery goes: what waits for each backend and what stops it, the workers, and what slows the database down.
    ///
    /// Exits 0 whatever it shows; `check` and `/readyz` judge.
    Status {
        /// For a program: one JSON object. Ages and times to come are in seconds.
        #[arg(long)]
        json: bool,
    },
    /// Show the rooms and people that wait for messages, those in trouble first, and who is sending to them.
    ///
    /// A lane is `<backend>/<room id>` or `<backend>/<@user:server>`. Its messages go out one after the other; HEAD is the next one.
    Lanes {
        /// Only lanes of the backend with this id.
        #[arg(long, value_name = "ID")]
        backend: Option<BackendId>,
        /// Show at most so many lanes.
        #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// For a program: one JSON object. Ages and times to come are in seconds.
        #[arg(long)]
        json: bool,
    },
    /// Stop sending for a backend, or for all, until it is resumed. Odoo goes on queueing, and nothing is lost.
    ///
    /// Use it before work on the homeserver. What is in flight is finished. The pause outlasts restarts of the worker and changes of
    /// the backend in Odoo.
    Pause {
        #[command(flatten)]
        which: Which,
        /// Why, for those who will wonder; `status` and Odoo show it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Let a backend, or all, send again at once, whatever stopped it: a pause, a limit, an outage.
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// Print the SQL that gives a database role the rights of the worker, no more. Run it as the owner of Odoo's database.
    Grants {
        /// The role, which must exist.
        #[arg(long)]
        role: String,
    },
    /// Print the SQL of the tables, for a database without Odoo. It may run again, and then adds what is missing.
    Schema,
    /// Measure what this database and this machine can deliver. Sends nothing to anybody.
    ///
    /// Makes a schema of its own in the database of DATABASE_URL, whose role needs CREATE on the database; delivers messages from
    /// there to a homeserver on the loopback interface, with the worker's own settings; and drops the schema. Odoo's tables and
    /// messages are not touched.
    Bench(bench::Bench),
}

/// The backends that a command is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The backend with this id, as `status` and Odoo show it.
    #[arg(long, value_name = "ID")]
    backend: Option<BackendId>,
    /// Every backend.
    #[arg(long)]
    all: bool,
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
    /// The command line names something that is not there.
    #[error("{0}")]
    Usage(String),
    /// Something failed and has been told.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::BadConfig(_) => 78,
            Self::Store(_) => 69,
            Self::Usage(_) => 64,
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
            Command::Status { json } => status::status(&Config::load(lookup)?, json).await,
            Command::Lanes { backend, limit, json } => lanes::lanes(&Config::load(lookup)?, backend, limit, json).await,
            Command::Pause { which, reason } => pause::pause(&Config::load(lookup)?, which.backend, &reason).await,
            Command::Resume { which } => resume::resume(&Config::load(lookup)?, which.backend).await,
            Command::Bench(arguments) => bench::bench(&Config::load(lookup)?, &arguments).await,
            Command::Grants { role } => {
                print(&grants::sql(&role));
                Ok(())
            }
            Command::Schema => {
                print(&store::schema(store::newest()));
                Ok(())
            }
        }
    }
}

fn open(config: &Config) -> Result<Store, CliError> {
    Store::new(config).map_err(|error| CliError::BadConfig(format!("DATABASE_URL: {error}")))
}

fn json(report: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(report).map_err(|error| CliError::Failed(error.to_string()))
}

/// The answer of a command. A reader that has seen enough, as `head`, may go before its end.
fn print(text: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{}", text.trim_end()) {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "standard output cannot be written");
    }
}
