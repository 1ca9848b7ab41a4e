//! Tables of their own for `bench`: a schema beside Odoo's in the same database, which goes when the measurement is done.

use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::{StoreError, connect, migrations};

/// Nobody else's: what is found there was left by a measurement that was killed, and is dropped.
const NAME: &str = "odoo_matrix_worker_bench";

/// The schema, and the session that owns it.
pub struct Scratch {
    client: Client,
    url: SecretString,
    _connection: JoinSet<()>,
}

impl Scratch {
    /// Makes the schema with the tables of the contract and a backend at `homeserver_url`.
    ///
    /// # Errors
    /// In plain words when `database_url` cannot be used, another measurement is under way or the role may make no schema.
    pub async fn make(database_url: &str, homeserver_url: &str) -> Result<Self, StoreError> {
        let url = within_schema(database_url).map_err(StoreError::Other)?;
        let link = connect::Link::new(&url).map_err(StoreError::Other)?;
        let (client, connection) = link.connect().await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its end ends the statements that wait for it, and they tell why.
            let _ = connection.await;
        });
        // Many messages take their time.
        client.batch_execute(&link.setup).await?;
        client.batch_execute("SET statement_timeout = 0").await?;
        if !client.query_one("SELECT pg_try_advisory_lock(1836348024, 2)", &[]).await?.try_get(0)? {
            return Err(StoreError::Other("another measurement is under way in this database".to_owned()));
        }
        let made = client.batch_execute(&format!("DROP SCHEMA IF EXISTS {NAME} CASCADE; CREATE SCHEMA {NAME}")).await;
        made.map_err(StoreError::from).map_err(|error| match error {
            StoreError::Privilege(_) => StoreError::Other(
                "the role may not make the schema in which it would be measured: use a role with CREATE on the database, \
                 as its owner has, or a database of your own"
                    .to_owned(),
            ),
            other => other,
        })?;
        client.batch_execute(&migrations::schema(migrations::newest())).await?;
        let backend =
            "INSERT INTO matrix_backend (name, homeserver_url, token_sealed) VALUES ('bench', $1, 'plain:bench')";
        client.execute(backend, &[&homeserver_url]).await?;
        Ok(Self { client, url: url.into(), _connection: driver })
    }

    /// The `DATABASE_URL` of a worker that finds these tables.
    pub fn url(&self) -> SecretString {
        self.url.clone()
    }

    /// Commits `messages` for `rooms`, in turns.
    pub async fn enqueue(&self, messages: i32, rooms: i32) -> Result<(), StoreError> {
        self.client.execute(include_str!("../../sql/bench_enqueue.sql"), &[&messages, &rooms]).await?;
        Ok(())
    }

    /// How many messages have their `ok` row.
    pub async fn delivered(&self) -> Result<i64, StoreError> {
        let row = self.client.query_one("SELECT count(*) FROM matrix_log WHERE status = 'ok'", &[]).await?;
        Ok(row.try_get(0)?)
    }

    pub async fn remove(self) -> Result<(), StoreError> {
        Ok(self.client.batch_execute(&format!("DROP SCHEMA {NAME} CASCADE")).await?)
    }
}

/// The same URL, with the schema as the only place where tables are looked for.
fn within_schema(database_url: &str) -> Result<String, String> {
    if database_url.contains("options=") {
        return Err("DATABASE_URL has options of its own, among which the measurement would get lost; leave them out"
            .to_owned());
    }
    if !database_url.contains("://") {
        return Ok(format!("{database_url} options='-c search_path={NAME}'"));
    }
    let separator = if database_url.contains('?') { '&' } else { '?' };
    Ok(format!("{database_url}{separator}options=-c%20search_path%3D{NAME}"))
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_named_in_every_form_of_the_url() {
        for url in ["postgresql://u:p@h/d", "postgresql://u:p@h/d?sslmode=prefer", "host=h dbname=d user=u"] {
            let link = connect::Link::new(&within_schema(url).unwrap()).unwrap();

            assert!(link.config.get_options().unwrap().ends_with("-c search_path=odoo_matrix_worker_bench"), "{url}");
        }
        assert!(within_schema("postgresql://h/d?options=-c%20x%3D1").is_err());
    }
}
