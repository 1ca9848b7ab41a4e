//! Where a server listens, and the role with which we connect.

use std::fmt;

use anyhow::{Context, Result, bail};
use tokio_postgres::{Client, Config, config::Host};

use crate::percent_encode;

/// Host, port, role and password. `Debug` keeps the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub role: String,
    pub password: String,
}

impl Server {
    /// Reads a libpq URL that names one TCP host; its database and its options are not kept.
    pub fn parse(url: &str) -> Result<Self> {
        let config: Config =
            url.parse().context("it is not a URL of the form postgresql://role:password@host:port/")?;
        let [Host::Tcp(host)] = config.get_hosts() else {
            bail!("it must name one host to reach by TCP");
        };
        let password = config.get_password().unwrap_or_default();
        Ok(Self {
            host: host.clone(),
            port: config.get_ports().first().copied().unwrap_or(5432),
            role: config.get_user().context("it names no role")?.to_owned(),
            password: String::from_utf8(password.to_vec()).context("its password is not UTF-8")?,
        })
    }

    /// A libpq URL of one database.
    pub fn url(&self, database: &str) -> String {
        let credentials = match self.password.as_str() {
            "" => percent_encode(&self.role),
            password => format!("{}:{}", percent_encode(&self.role), percent_encode(password)),
        };
        format!("postgresql://{credentials}@{}:{}/{}", self.host, self.port, percent_encode(database))
    }

    /// The same server for another role.
    #[must_use]
    pub fn with_role(&self, role: &str, password: &str) -> Self {
        Self { role: role.to_owned(), password: password.to_owned(), ..self.clone() }
    }

    /// A connection to one database.
    pub async fn connect(&self, database: &str) -> Result<Client> {
        let mut config = Config::new();
        config.host(&self.host).port(self.port).user(&self.role).password(&self.password).dbname(database);
        super::connect(&config).await.with_context(|| format!("cannot connect to {database} at {self:?}"))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}:{}", self.role, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_the_same_after_being_parsed_and_written() {
        let server = Server { host: "::1".into(), port: 5433, role: "a b".into(), password: "p@ss/%:".into() };
        let server = Server { host: "localhost".into(), ..server };

        let read = Server::parse(&server.url("x")).expect("our own URL");

        assert_eq!(read, server);
        assert!(!format!("{read:?}").contains("p@ss"));
    }
}
