//! A law office that works in Odoo and talks in Matrix: all parts together.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::try_join;

use crate::odoo::{self, Client, Odoo, Server, Site};
use crate::postgres::Postgres;
use crate::progress;
use crate::synapse::{Options, Synapse, User};
use crate::worker::{Launch, Worker};

/// The passwords of a stack that only this machine reaches, for a short time.
pub const ADMIN_PASSWORD: &str = "admin";
const MATRIX_PASSWORD: &str = "let me in";

/// Everything that runs. The parts end in the order of the fields.
#[derive(Debug)]
pub struct Office {
    pub worker: Worker,
    pub launch: Launch,
    pub server: Server,
    /// Odoo's administrator, who is Matrix Manager too.
    pub admin: Client,
    pub site: Site,
    pub synapse: Synapse,
    /// The account that Odoo uses.
    pub bot: User,
    /// A person who reads the rooms in Matrix.
    pub lawyer: User,
    /// The password of both.
    pub matrix_password: &'static str,
    /// The room that both are in.
    pub room: String,
    /// The id of the `matrix.backend`.
    pub backend: i64,
}

/// Another Odoo with a database, a worker and an account of its own. The parts end in the order of the fields.
#[derive(Debug)]
pub struct Branch {
    pub worker: Worker,
    pub launch: Launch,
    pub server: Server,
    pub admin: Client,
    pub site: Site,
    /// The id of its `matrix.backend`.
    pub backend: i64,
}

impl Branch {
    /// Starts an Odoo and a worker that send as `bot`.
    pub async fn open(postgres: &Postgres, binary: &Path, synapse: &Synapse, bot: &User) -> Result<Self> {
        Self::connect(open_odoo(postgres).await?, binary, synapse, bot).await
    }

    async fn connect(odoo: (Site, Server, Client), binary: &Path, synapse: &Synapse, bot: &User) -> Result<Self> {
        let (mut site, server, admin) = odoo;
        let backend = json!({
            "name": "Law Office",
            "homeserver_url": synapse.url(),
            "personal_access_token": bot.token(),
            "is_active": true,
        });
        let backend = admin.create("matrix.backend", backend).await?;
        let token_key = site.token_key().to_owned();
        let launch = Launch::prepare(binary, site.database_mut()).await?.variable("MATRIX_TOKEN_KEY", &token_key);
        let worker = launch.start("office").await?;
        Ok(Self { worker, launch, server, admin, site, backend })
    }
}

impl Office {
    /// Starts all parts. `binary` is the built worker.
    pub async fn open(postgres: &Postgres, binary: &Path) -> Result<Self> {
        let (matrix, odoo) = try_join!(open_matrix(), open_odoo(postgres))?;
        let Matrix { synapse, bot, lawyer, room } = matrix;
        let Branch { worker, launch, server, admin, site, backend } =
            Branch::connect(odoo, binary, &synapse, &bot).await?;
        let matrix_password = MATRIX_PASSWORD;
        Ok(Self { worker, launch, server, admin, site, synapse, bot, lawyer, matrix_password, room, backend })
    }

    /// Makes a client and a case of it, linked to `room`; gives back the id of the case.
    pub async fn open_case(&self, name: &str, client: &str, room: &str) -> Result<i64> {
        let partner = self.admin.create("res.partner", json!({"name": client})).await?;
        let case = json!({"name": name, "partner_id": partner, "matrix_room_id": room});
        self.admin.create("legal.case", case).await
    }

    /// The deliveries of Odoo's Logs, oldest first.
    pub async fn logs(&self) -> Result<Vec<Value>> {
        let fields = [
            "date",
            "status",
            "is_final",
            "event_type",
            "room_id",
            "payload",
            "matrix_event_id",
            "attempts",
            "error_code",
            "error_message",
        ];
        self.admin.search_read("matrix.log", json!([["backend_id", "=", self.backend]]), &fields, "id").await
    }
}

/// Lets the homeserver send messages to an Odoo, which it reaches at `odoo`.
pub async fn send_to_odoo(synapse: &mut Synapse, admin: &Client, backend: i64, odoo: &str) -> Result<()> {
    admin.write("matrix.backend", backend, json!({"inbound_mode": "appservice"})).await?;
    let url = format!("{odoo}/mail_matrix/appservice/{backend}");
    admin.write("matrix.backend", backend, json!({"inbound_url": url})).await?;
    let action = admin.press("matrix.backend", backend, "action_download_registration").await?;
    let url = action["url"].as_str().context("a registration file is at an address")?;
    let registration = admin.download("admin", url).await?;
    synapse.load_app_service(&registration).await
}

struct Matrix {
    synapse: Synapse,
    bot: User,
    lawyer: User,
    room: String,
}

async fn open_matrix() -> Result<Matrix> {
    let synapse = Synapse::start(Options::default()).await?;
    let bot = synapse.register("odoo", MATRIX_PASSWORD, false).await?;
    let lawyer = synapse.register("lawyer", MATRIX_PASSWORD, false).await?;
    let room = lawyer.create_room("Cases", &[&bot]).await?;
    bot.join(&room).await?;
    progress::say(format!("Matrix: {} and {} are in the room Cases", lawyer.id(), bot.id()));
    Ok(Matrix { synapse, bot, lawyer, room })
}

async fn open_odoo(postgres: &Postgres) -> Result<(Site, Server, Client)> {
    let odoo = Arc::new(Odoo::install().await?);
    progress::say(format!("Odoo: {}", odoo.source()));
    let mut addons = odoo::addon_names()?;
    addons.retain(|name| !name.starts_with("test_"));
    let site = Site::with(&odoo, postgres, &addons).await?;
    let server = site.serve().await?;
    let admin = server.login("admin", ADMIN_PASSWORD).await.context("Odoo's administrator cannot log in")?;
    Ok((site, server, admin))
}
