//! A real homeserver: Synapse from PyPI on SQLite, with its default rate limits.

mod config;
mod user;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Client;
use serde_json::{Value, json};
use sha1::Sha1;
use tempfile::TempDir;

use crate::process::{Process, Signal};
use crate::venv::Venv;
use crate::{faketime, free_port, percent_encode, progress, scratch};
pub use user::{Event, User};

const READY_WITHIN: Duration = Duration::from_secs(120);
const SERVER_NAME: &str = "matrix.localhost";

/// A running homeserver. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Synapse {
    process: Process,
    url: String,
    registration_secret: String,
    http: Client,
    venv: Venv,
    folder: TempDir,
}

/// What a test may want otherwise than a homeserver comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Let everybody send and log in as fast as they can, instead of 0.2 messages a second after a burst of 10.
    pub unlimited: bool,
    /// Encrypt every new room.
    pub encrypts_new_rooms: bool,
    /// The registration file of an application service.
    pub app_service: Option<&'static str>,
    /// Another server that may be asked; without one nothing leaves this machine.
    pub neighbour: Option<&'static str>,
}

impl Synapse {
    /// Downloads what is missing; nothing on a second run.
    pub async fn install() -> Result<Venv> {
        Venv::get("synapse", include_str!("../../python/synapse.txt")).await
    }

    /// Starts a homeserver without users on a free port of the loopback interface.
    pub async fn start(options: Options) -> Result<Self> {
        let venv = Self::install().await.context("Synapse cannot be had")?;
        let folder = scratch("synapse")?;
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let registration_secret = config::write(folder.path(), port, SERVER_NAME, options)?;

        let http = crate::http_client()?;
        let process = launch(&venv, folder.path(), &http, &url, &[]).await?;
        progress::say(format!("Synapse: answers at {url}"));
        Ok(Self { process, url, registration_secret, http, venv, folder })
    }

    /// Loads the registration file of an application service, as an administrator does: by a restart.
    pub async fn load_app_service(&mut self, registration: &str) -> Result<()> {
        let folder = self.folder.path();
        config::write_private(&folder.join("appservice.yaml"), registration)?;
        let mut file = OpenOptions::new().append(true).open(folder.join("homeserver.yaml"))?;
        file.write_all(b"app_service_config_files: [appservice.yaml]\n")?;
        self.restart(Signal::TERM).await
    }

    /// Ends the homeserver by a signal and starts it again with its data, at the same address.
    pub async fn restart(&mut self, signal: Signal) -> Result<()> {
        self.restart_with(signal, &[]).await
    }

    /// The same with a clock that runs faster so many times.
    pub async fn restart_faster(&mut self, speed: u32) -> Result<()> {
        self.restart_with(Signal::TERM, &faketime::faster(speed).await?).await
    }

    async fn restart_with(&mut self, signal: Signal, environment: &[(&str, String)]) -> Result<()> {
        self.process.stop(signal).await?;
        self.process = launch(&self.venv, self.folder.path(), &self.http, &self.url, environment).await?;
        Ok(())
    }

    /// The base URL for clients.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The part of every user id after the colon.
    pub fn server_name(&self) -> &'static str {
        SERVER_NAME
    }

    /// The running program, to stop and to look at.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Makes a user and logs it in on a device of its own. A server admin may use Synapse's admin API.
    pub async fn register(&self, name: &str, password: &str, admin: bool) -> Result<User> {
        let endpoint = format!("{}/_synapse/admin/v1/register", self.url);
        let nonce: Value = self.http.get(&endpoint).send().await?.error_for_status()?.json().await?;
        let nonce = nonce["nonce"].as_str().context("Synapse gave no nonce")?;
        let rank = if admin { "admin" } else { "notadmin" };
        let mut mac = Hmac::<Sha1>::new_from_slice(self.registration_secret.as_bytes())?;
        mac.update([nonce, name, password, rank].join("\0").as_bytes());
        let mac: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let body = json!({"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac});
        let answer = self.http.post(&endpoint).json(&body).send().await?;
        let (status, answer) = (answer.status(), answer.json::<Value>().await?);
        ensure!(status.is_success(), "Synapse does not register {name}: {status} {answer}");
        User::from_login(self.http.clone(), &self.url, &answer)
    }

    /// Logs a user in on another device.
    pub async fn log_in(&self, user: &User, password: &str) -> Result<User> {
        let identifier = json!({"type": "m.id.user", "user": user.id()});
        let body = json!({"type": "m.login.password", "identifier": identifier, "password": password});
        User::from_login(self.http.clone(), &self.url, &user.post("/_matrix/client/v3/login", &body).await?)
    }

    /// Makes a device of `user` as an application service with this token, or removes it.
    pub async fn service_device(&self, token: &str, user: &User, device: &str, exists: bool) -> Result<()> {
        let (device, user) = (percent_encode(device), percent_encode(user.id()));
        let url = format!("{}/_matrix/client/v3/devices/{device}?user_id={user}", self.url);
        let request = if exists { self.http.put(url) } else { self.http.delete(url) };
        let answer = request.bearer_auth(token).json(&json!({})).send().await?;
        let (status, answer) = (answer.status(), answer.json::<Value>().await?);
        ensure!(status.is_success(), "Synapse does not change the device: {status} {answer}");
        Ok(())
    }

    /// Closes an account and takes its profile away, as an administrator does.
    pub async fn erase(&self, admin: &User, user: &User) -> Result<()> {
        let path = format!("/_synapse/admin/v1/deactivate/{}", percent_encode(user.id()));
        admin.post(&path, &json!({"erase": true})).await.map(drop)
    }

    /// Takes the message limits off one user, as an administrator does for a bot.
    pub async fn exempt(&self, admin: &User, user: &User) -> Result<()> {
        let path = format!("/_synapse/admin/v1/users/{}/override_ratelimit", percent_encode(user.id()));
        admin.post(&path, &json!({"messages_per_second": 0, "burst_count": 0})).await?;
        Ok(())
    }
}

async fn launch(
    venv: &Venv,
    folder: &Path,
    http: &Client,
    url: &str,
    environment: &[(&str, String)],
) -> Result<Process> {
    let mut command = Command::new(venv.program("python"));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.args(["-m", "synapse.app.homeserver", "-c", "homeserver.yaml"]).current_dir(folder);
    let process = Process::spawn("Synapse", command, &folder.join("synapse.log"))?;
    let answers = || async {
        let answer = http.get(format!("{url}/health")).send().await.ok()?;
        answer.status().is_success().then_some(())
    };
    process.until("answered", READY_WITHIN, answers).await?;
    Ok(process)
}
