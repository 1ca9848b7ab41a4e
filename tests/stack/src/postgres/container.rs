//! A PostgreSQL in a container, where no server is installed.

use anyhow::{Context, Result};
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use super::Server;

const ROLE: &str = "stack";

#[derive(Debug)]
pub(super) struct Container {
    server: Server,
    _running: ContainerAsync<GenericImage>,
}

impl Container {
    pub(super) async fn start() -> Result<Self> {
        let password = super::password();
        // The first time it says so it serves its own set-up, over the socket, and then starts again.
        let ready = WaitFor::message_on_stderr("database system is ready to accept connections");
        let running = GenericImage::new("postgres", "15-alpine")
            .with_exposed_port(5432.tcp())
            .with_wait_for(WaitFor::message_on_stdout("PostgreSQL init process complete"))
            .with_wait_for(ready)
            .with_env_var("POSTGRES_USER", ROLE)
            .with_env_var("POSTGRES_PASSWORD", &password)
            .start()
            .await
            .context("the container of PostgreSQL does not start")?;
        let host = running.get_host().await?.to_string();
        let port = running.get_host_port_ipv4(5432).await?;
        let server = Server { host, port, role: ROLE.to_owned(), password };
        Ok(Self { server, _running: running })
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }
}
