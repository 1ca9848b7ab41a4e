//! The command line: one file per subcommand that does more than print.

mod backends;
mod check;
mod configure;
mod deliver;
mod grants;
mod history;
mod lanes;
mod pause;
mod resume;
mod screen;
mod status;
mod table;
mod warnings;
mod watch;

use std::{
    io::{ErrorKind, Write as _},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use thiserror::Error;

use crate::{
    config::Config,
    environment::{ConfigError, Environment, INSTANCES, OF_INSTANCE, bad},
    message::BackendId,
    metrics::Metrics,
    privileges,
    store::{self, Store, StoreError, UrlError},
};

/// The variables of the environment, for `--help` and the manual.
const VARIABLES_HELP: &str = "\
Variables of the environment (of a service: /etc/odoo-matrix/NAME/worker.env):
  DATABASE_URL, DATABASE_URL_FILE          libpq URL, or the file that holds it (credential database-url)
  MATRIX_TOKEN_KEY, MATRIX_TOKEN_KEY_FILE  the matrix_token_key of odoo.conf, or the file that holds it (credential token-key)
  WORKER_NAME                              who this worker is [the host's name]
  WORKER_CONCURRENCY                       rooms that are sent to at the same time [64]
  WORKER_LEASE_SECONDS                     how long a claim holds without renewal [30]
  HTTP_TIMEOUT_SECONDS                     for each call to a homeserver [10]
  RETRY_DELAY_MS                           pause before the one retry [1000]
  SHUTDOWN_GRACE_SECONDS                   time that SIGTERM leaves for what is in flight [20]
  METRICS_LISTEN                           address and port of /metrics, /healthz and /readyz [none]
  LOG_FORMAT                               text or json [text]
  RUST_LOG                                 error, warn, info or debug [info]

Exit codes: 0 done, 1 something failed and was reported, 64 the command line is wrong, 69 no database or no tables, 78 wrong settings.";

/// Delivers the Matrix messages that Odoo has queued in PostgreSQL: in order within a room, once, with a log.
///
/// As a service: `configure NAME` writes its settings, `systemctl enable --now odoo-matrix-worker@NAME` starts it, and
/// `--instance NAME` lets the other commands use the same settings. Without a service the settings are variables of the environment:
/// DATABASE_URL (postgresql://user:password@host:5432/database) and, when Odoo seals its access tokens, MATRIX_TOKEN_KEY_FILE.
#[derive(Debug, Parser)]
#[command(version, after_long_help = VARIABLES_HELP)]
pub struct Cli {
    /// Use the settings of the service odoo-matrix-worker@NAME. Only root may read them.
    #[arg(short, long, global = true, value_name = "NAME")]
    instance: Option<String>,
    /// The folder of the instances.
    #[arg(long, global = true, hide = true, value_name = "FOLDER", default_value = INSTANCES)]
    instances: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Deliver until stopped. SIGTERM finishes what is in flight; a second one ends at once.
    Run,
    /// Deliver what waits now, then exit: 0 when all went out, 1 when something failed or must wait.
    ///
    /// It waits as long as the homeserver limits the account, and for lanes that another worker has leased. It does not
    /// wait for a backend that is paused, stopped or inactive, nor for a room that cannot be reached while others can:
    /// their messages stay, and `status` and `lanes` say why.
    Drain,
    /// Check whether everything is ready: settings, database, tables, rights, notifications, clock, homeservers.
    /// Changes nothing.
    ///
    /// Each line is ok, a warning, or a problem, with what to do below it. Exits 0 without problems, 1 with some, 69 when the database
    /// or its tables are missing, 78 when the settings cannot be used.
    Check {
        /// For a program: one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Show the state of delivery: what waits for each backend and what stops it, the workers, and what slows the
    /// database down.
    ///
    /// Exits 0 whatever it shows; `check` and `/readyz` judge.
    Status {
        /// For a program: one JSON object. Ages and times to come are in seconds.
        #[arg(long, conflicts_with = "watch")]
        json: bool,
        /// Show it again every two seconds, with rates and the rooms in trouble, until Ctrl-C, or q on a terminal.
        #[arg(long)]
        watch: bool,
    },
    /// Show what happened to a message, a room, a person or a record: one line for each outcome, newest first, without texts.
    History(history::Question),
    /// Show the rooms and people that wait for messages, those in trouble first, and who is sending to them.
    ///
    /// A lane is `<backend>/<room id>` or `<backend>/<@user:server>`. Its messages go out one after the other; HEAD is the next one.
    Lanes {
        /// Only lanes of the backend with this id.
        #[arg(long, value_name = "ID")]
        backend: Option<BackendId>,
        /// Only lanes in trouble: those whose next message has failed and will be tried again.
        #[arg(long)]
        blocked: bool,
        /// Show at most this many lanes.
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
        /// The reason, which `status` and Odoo show.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Let a backend, or all, send again at once, whatever stopped it: a pause, a limit, an outage.
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// Write the settings of an instance of the service: the database's URL and the key that opens access tokens.
    ///
    /// Settings that are not given stay as they are. A new instance without a URL uses the database of the same name
    /// through the local socket, as the role odoo-matrix, without a password.
    Configure(configure::Settings),
    /// Print the SQL that gives a database role the rights of the worker and no others. Run it as the owner of Odoo's
    /// database.
    Grants {
        /// The role.
        #[arg(long, default_value = "odoo-matrix")]
        role: String,
        /// Create the role if it is missing, which needs CREATEROLE. It gets no password: the local socket asks for
        /// none, and \password in psql sets one.
        #[arg(long)]
        create_role: bool,
    },
    /// Print the SQL of the tables, for a database without Odoo. It may run again, and then adds what is missing.
    Schema,
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
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("DATABASE_URL: {0}")]
    Url(#[from] UrlError),
    /// A file that `configure` was given cannot be used.
    #[error("{0}")]
    File(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The command line names something that is not there.
    #[error("{0}")]
    Usage(String),
    /// Something failed and has been reported.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Url(_) | Self::File(_) => 78,
            Self::Store(StoreError::Pooler(_)) => 78,
            Self::Store(_) => 69,
            Self::Usage(_) => 64,
            Self::Failed(_) => 1,
        }
    }
}

impl Cli {
    /// The settings to use: those given, and those of the instance that the command line names. For an instance, root privileges are dropped here.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn environment(&self, given: Environment) -> Result<Environment, ConfigError> {
        let Some(name) = &self.instance else { return Ok(given) };
        let name = configure::checked_name(name).map_err(|error| bad("--instance", name, error.to_string()))?;
        if given.get(OF_INSTANCE) == Some(name) {
            return Ok(given);
        }
        let environment = given.of_instance(&self.instances.join(name))?;
        privileges::leave_root(name, &environment)?;
        Ok(environment)
    }

    pub async fn run(self, environment: &Environment) -> Result<(), CliError> {
        let config = || Config::load(environment);
        match self.command {
            Command::Run => deliver::run(&config()?).await,
            Command::Drain => deliver::drain(&config()?).await,
            Command::Check { json } => check::check(environment, json).await,
            Command::Status { watch: true, .. } => watch::watch(&config()?).await,
            Command::Status { json, .. } => status::status(&config()?, json).await,
            Command::History(question) => history::history(&config()?, question).await,
            Command::Lanes { backend, blocked, limit, json } => {
                lanes::lanes(&config()?, backend, blocked, limit, json).await
            }
            Command::Pause { which, reason } => pause::pause(&config()?, which.backend, &reason).await,
            Command::Resume { which } => resume::resume(&config()?, which.backend).await,
            Command::Configure(settings) => configure::configure(&self.instances, &settings),
            Command::Grants { role, create_role } => {
                print(&grants::sql(&role, create_role));
                Ok(())
            }
            Command::Schema => {
                print(&store::schema(store::newest()));
                Ok(())
            }
        }
    }
}

fn open(config: &Config) -> Result<Store, UrlError> {
    connect(config, Metrics::default())
}

fn connect(config: &Config, metrics: Metrics) -> Result<Store, UrlError> {
    Store::new(config.database_url.expose_secret(), &config.worker_name, config.lease, metrics)
}

fn json(report: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(report).map_err(|error| CliError::Failed(error.to_string()))
}

/// The answer of a command. A reader that has seen enough, such as `head`, may close the pipe before its end.
///
/// Colours show on a terminal only.
fn print(text: &str) {
    if let Err(error) = writeln!(anstream::stdout(), "{}", text.trim_end()) {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "standard output cannot be written");
    }
}
