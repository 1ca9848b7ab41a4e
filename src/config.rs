//! The settings, checked once.
//!
//! | variable | default | |
//! |---|---|---|
//! | `DATABASE_URL`, `DATABASE_URL_FILE` | required | libpq URL, not through a transaction pooler; `sslmode`, `sslrootcert`, `sslcert`, `sslkey` as libpq means them |
//! | `MATRIX_TOKEN_KEY_FILE`, `MATRIX_TOKEN_KEY` | none | Fernet keys that open sealed tokens, separated by commas or lines |
//! | `WORKER_NAME` | host name | who this worker is; two that run at once need two names |
//! | `WORKER_CONCURRENCY` | 64 | lanes in flight, 1 to 10000 |
//! | `WORKER_LEASE_SECONDS` | 30 | how long a claim holds without renewal |
//! | `HTTP_TIMEOUT_SECONDS` | 10 | for each call, from connecting to the last byte; fractions allowed |
//! | `RETRY_DELAY_MS` | 1000 | pause before the one retry, with jitter |
//! | `SHUTDOWN_GRACE_SECONDS` | 20 | how long what is in flight may take after SIGTERM |
//! | `METRICS_LISTEN` | none | address and port for `/metrics`, `/healthz`, `/readyz`, as `127.0.0.1:9184` |
//! | `LOG_FORMAT` | `text` | `json` for machines |
//!
//! The two secrets are also found as systemd's credentials `database-url` and `token-key`.

use std::{fmt::Display, net::SocketAddr, str::FromStr, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    environment::{ConfigError, Environment, bad},
    seal::Keys,
};

/// The longest lease that a worker may have. As long others wait at most for a lane whose holder died before the clock was set back.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_secs(15 * 60);

/// What a lease must outlast beside two HTTP timeouts and the pause between them.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub database_url: SecretString,
    pub token_keys: Keys,
    pub worker_name: String,
    pub concurrency: usize,
    pub lease: Duration,
    pub http_timeout: Duration,
    pub retry_delay: Duration,
    pub shutdown_grace: Duration,
    pub metrics_listen: Option<SocketAddr>,
}

impl Config {
    /// # Errors
    /// Names the variable, its value unless it is a secret, and what to write instead.
    pub(crate) fn load(environment: &Environment) -> Result<Self, ConfigError> {
        environment.check_names()?;
        let database_url = environment.secret("DATABASE_URL")?.ok_or(ConfigError::Missing {
            variable: "DATABASE_URL",
            fix: "set it to the database of Odoo, as postgresql://user:password@host:5432/database; for a service `odoo-matrix-worker \
                configure NAME` writes it",
        })?;
        let worker_name = environment.get("WORKER_NAME").map_or_else(host_name, str::to_owned);
        if worker_name.contains('/') || worker_name.len() > 100 {
            return Err(bad("WORKER_NAME", &worker_name, "use at most 100 bytes without a slash"));
        }
        let config = Self {
            database_url: database_url.into(),
            token_keys: token_keys(environment)?,
            worker_name,
            concurrency: number(environment, "WORKER_CONCURRENCY", 64, 1, 10_000)?,
            lease: seconds(environment, "WORKER_LEASE_SECONDS", 30.0, 1.0, LONGEST_LEASE.as_secs_f64())?,
            http_timeout: seconds(environment, "HTTP_TIMEOUT_SECONDS", 10.0, 0.05, 300.0)?,
            retry_delay: Duration::from_millis(number(environment, "RETRY_DELAY_MS", 1000, 0, 60_000)?),
            shutdown_grace: seconds(environment, "SHUTDOWN_GRACE_SECONDS", 20.0, 0.0, 3600.0)?,
            metrics_listen: address(environment, "METRICS_LISTEN")?,
        };
        config.check_lease()?;
        Ok(config)
    }

    /// A lease that could end between two tries of one message would let two workers send it.
    fn check_lease(&self) -> Result<(), ConfigError> {
        // The jitter adds up to a quarter to the pause.
        let needed = 2 * self.http_timeout + self.retry_delay.mul_f64(1.25) + self.lease_margin();
        if self.lease >= needed {
            return Ok(());
        }
        Err(bad(
            "WORKER_LEASE_SECONDS",
            self.lease.as_secs_f64(),
            format!(
                "must be at least {:.1}: two HTTP_TIMEOUT_SECONDS, RETRY_DELAY_MS and a margin of {:.1} s",
                needed.as_secs_f64(),
                self.lease_margin().as_secs_f64()
            ),
        ))
    }

    /// How much of the lease must be left beyond the timeout for a call to be started: a second, less for very short leases.
    pub(crate) fn lease_margin(&self) -> Duration {
        LEASE_MARGIN.min(self.lease / 10)
    }
}

fn token_keys(environment: &Environment) -> Result<Keys, ConfigError> {
    let text = SecretString::from(environment.secret("MATRIX_TOKEN_KEY")?.unwrap_or_default());
    Keys::parse(text.expose_secret()).map_err(|position| {
        bad(
            "MATRIX_TOKEN_KEY",
            "(secret)",
            format!("key {position} is not a Fernet key: 32 bytes in URL-safe base64, 44 characters"),
        )
    })
}

fn number<T>(environment: &Environment, variable: &'static str, default: T, least: T, most: T) -> Result<T, ConfigError>
where
    T: FromStr + PartialOrd + Display,
{
    let Some(text) = environment.get(variable) else { return Ok(default) };
    text.trim()
        .parse()
        .ok()
        .filter(|value| (&least..=&most).contains(&value))
        .ok_or_else(|| bad(variable, text, format!("must be a number from {least} to {most}")))
}

fn seconds(
    environment: &Environment,
    variable: &'static str,
    default: f64,
    least: f64,
    most: f64,
) -> Result<Duration, ConfigError> {
    number(environment, variable, default, least, most).map(Duration::from_secs_f64)
}

fn address(environment: &Environment, variable: &'static str) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(text) = environment.get(variable) else { return Ok(None) };
    let parsed = text.trim().parse();
    parsed.map(Some).map_err(|_| {
        bad(variable, text, "must be an address and a port, as 127.0.0.1:9184, [::1]:9184 or 0.0.0.0:9184 for all")
    })
}

/// The kernel's name for this host; without one the worker still needs some name.
pub(crate) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "worker".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::VARIABLES;

    fn load(variables: &[(&str, &str)]) -> Result<Config, String> {
        let given = [("DATABASE_URL", "postgresql://db")].iter().chain(variables);
        let environment = given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::load(&environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        let config = load(&[]).unwrap();

        assert_eq!((config.concurrency, config.lease), (64, Duration::from_secs(30)));
        assert_eq!((config.http_timeout, config.retry_delay), (Duration::from_secs(10), Duration::from_secs(1)));
        assert_eq!(config.shutdown_grace, Duration::from_secs(20));
    }

    #[test]
    fn an_error_names_the_variable_the_value_and_the_fix() {
        for (variable, value, fix) in [
            ("WORKER_CONCURRENCY", "many", "1 to 10000"),
            ("WORKER_CONCURRENCY", "0", "1 to 10000"),
            ("HTTP_TIMEOUT_SECONDS", "NaN", "0.05 to 300"),
            ("WORKER_LEASE_SECONDS", "20", "at least"),
            ("WORKER_NAME", "a/b", "slash"),
            ("METRICS_LISTEN", "9184", "address and a port"),
            ("METRICS_LISTEN", "localhost:9184", "127.0.0.1:9184"),
            ("MATRIX_TOKEN_KEY_FILE", "/nonexistent", "cannot be read"),
        ] {
            let error = load(&[(variable, value)]).unwrap_err();

            assert!(error.contains(variable) && error.contains(value) && error.contains(fix), "{error}");
        }
    }

    #[test]
    fn every_variable_that_is_read_is_known_by_its_name() {
        let documented = include_str!("config.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
        let names: Vec<_> = documented
            .flat_map(|line| line.split('|').next().unwrap().split('`').skip(1).step_by(2))
            .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            .collect();

        assert!(names.len() >= 12, "{names:?}");
        for name in names {
            assert!(VARIABLES.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_bad_key_is_reported_without_showing_it() {
        let error = load(&[("MATRIX_TOKEN_KEY", "hunter2")]).unwrap_err();

        assert!(error.contains("MATRIX_TOKEN_KEY") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn without_a_database_the_error_shows_what_one_looks_like() {
        let error = Config::load(&Environment::default()).unwrap_err().to_string();

        assert!(error.contains("DATABASE_URL") && error.contains("postgresql://"), "{error}");
    }
}
