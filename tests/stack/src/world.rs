//! What each test of the worker starts from: a database with the contract, a worker role with its grants, a backend,
//! and the double of the homeserver.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test whose set-up fails must panic there")]

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio_postgres::Client;

use crate::{
    homeserver::{Homeserver, TOKEN},
    postgres::{Database, Postgres, shared},
    process::{Process, Signal},
    webhook::Webhook,
    worker::Launch,
};

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub homeserver: Homeserver,
    pub client: Client,
    pub backend: i32,
    pub launch: Launch,
    logs: TempDir,
    // Last: the database goes when its connections are gone.
    pub database: Database,
}

/// A row of `matrix_log`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRow {
    pub outbox_id: i64,
    pub status: String,
    pub is_final: bool,
    pub attempts: i32,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub event_id: Option<String>,
    pub body: String,
}

impl World {
    /// `binary` is the built worker.
    pub async fn new(binary: &str) -> Self {
        Self::on(shared().await, binary).await
    }

    /// On a server of one's own, for tests that stop it.
    pub async fn on(postgres: &Postgres, binary: &str) -> Self {
        let schema = Command::new(binary).arg("schema").output().unwrap();
        Self::with_schema(postgres, binary, &String::from_utf8(schema.stdout).unwrap()).await
    }

    /// With tables of its own, for tests of another contract than the newest.
    pub async fn with_schema(postgres: &Postgres, binary: &str, schema: &str) -> Self {
        let mut database = postgres.database("worker").await;
        let client = database.connect().await.unwrap();
        client.batch_execute(schema).await.unwrap();
        let homeserver = Homeserver::start().await.unwrap();
        let launch = Launch::prepare(Path::new(binary), &mut database)
            .await
            .unwrap()
            .variable("WORKER_LEASE_SECONDS", "3")
            .variable("HTTP_TIMEOUT_SECONDS", "0.5")
            .variable("RETRY_DELAY_MS", "50")
            .variable("RUST_LOG", "odoo_matrix_worker=debug");
        let mut world = Self { homeserver, client, backend: 0, launch, logs: TempDir::new().unwrap(), database };
        world.backend = world.add_backend(&world.homeserver.url(), &format!("plain:{TOKEN}")).await;
        world
    }

    pub async fn add_backend(&self, url: &str, token_sealed: &str) -> i32 {
        let sql =
            "INSERT INTO matrix_backend (name, homeserver_url, token_sealed) VALUES ('test', $1, $2) RETURNING id";
        self.client.query_one(sql, &[&url, &token_sealed]).await.unwrap().get(0)
    }

    /// The backend asks the worker to follow its account, and to post what it reads to `webhook`.
    pub async fn follow(&self, webhook: &Webhook) {
        let sql = "UPDATE matrix_backend SET inbound_mode = 'follow', inbound_url = $2, inbound_secret_sealed = $3 WHERE id = $1";
        let secret = format!("plain:{}", crate::webhook::SECRET);
        self.client.execute(sql, &[&self.backend, &webhook.url(), &secret]).await.unwrap();
    }

    /// Waits until the account is followed from some place on.
    pub async fn until_followed(&self) {
        self.until("SELECT EXISTS (SELECT FROM matrix_follower WHERE since IS NOT NULL AND lease_until IS NOT NULL)")
            .await;
    }

    /// Starts a worker. It ends with the value.
    pub fn worker(&self, name: &str) -> Process {
        self.worker_with(name, &[])
    }

    pub fn worker_with(&self, name: &str, variables: &[(&str, &str)]) -> Process {
        self.worker_through(&[], name, variables)
    }

    /// Starts a worker by way of another program, which becomes it.
    pub fn worker_through(&self, way: &[&str], name: &str, variables: &[(&str, &str)]) -> Process {
        self.spawn(way, name, name, variables)
    }

    /// Starts a worker that has the name of another one that runs; its log is `log`.
    pub fn namesake(&self, name: &str, log: &str) -> Process {
        self.spawn(&[], name, log, &[])
    }

    fn spawn(&self, way: &[&str], name: &str, log: &str, variables: &[(&str, &str)]) -> Process {
        let worker = self.launch.command(&["run"]);
        let words = way.iter().map(OsStr::new).chain([worker.get_program()]).chain(worker.get_args());
        let mut words = words.map(OsStr::to_owned);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).envs(worker.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("WORKER_NAME", name).envs(variables.iter().copied());
        Process::spawn("the worker", command, &self.logs.path().join(format!("{log}.log"))).unwrap()
    }

    /// What the workers have logged so far.
    pub fn worker_logs(&self) -> String {
        let files = std::fs::read_dir(self.logs.path()).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    pub async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.launch.command(arguments));
        command.kill_on_drop(true).output().await.unwrap()
    }

    /// Queues one message in a transaction of its own.
    pub async fn enqueue(&self, room: &str, body: &str) -> i64 {
        self.enqueue_many(&[room], body, 1).await[0]
    }

    /// Queues `count` messages for each of `rooms`, round after round; bodies are `body` and the number of the round.
    pub async fn enqueue_many(&self, rooms: &[&str], body: &str, count: i32) -> Vec<i64> {
        let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
            SELECT $1, 'manual', room, jsonb_build_object('msgtype', 'm.text', 'body', CASE WHEN $4 = 1 THEN $3 ELSE $3 || ' ' || n END),
                gen_random_uuid()::text
            FROM generate_series(1, $4::integer) AS n, unnest($2::text[]) AS room
            ORDER BY n RETURNING id";
        let rows = self.client.query(sql, &[&self.backend, &rooms, &body, &count]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Queues one direct message.
    pub async fn enqueue_direct(&self, person: &str, body: &str) -> i64 {
        let sql = "INSERT INTO matrix_outbox (backend_id, event_type, matrix_user_id, content, txn_id)
            VALUES ($1, 'dm', $2, jsonb_build_object('msgtype', 'm.text', 'body', $3::text), gen_random_uuid()::text) RETURNING id";
        self.client.query_one(sql, &[&self.backend, &person, &body]).await.unwrap().get(0)
    }

    pub async fn log(&self) -> Vec<LogRow> {
        let sql = "SELECT outbox_id, status, is_final, attempts, error_code, error_message, matrix_event_id, payload
            FROM matrix_log ORDER BY id";
        let rows = self.client.query(sql, &[]).await.unwrap();
        rows.iter()
            .map(|row| LogRow {
                outbox_id: row.get(0),
                status: row.get(1),
                is_final: row.get(2),
                attempts: row.get(3),
                error_code: row.get(4),
                error_message: row.get(5),
                event_id: row.get(6),
                body: row.get(7),
            })
            .collect()
    }

    /// Queries the database until `sql`, which returns one boolean, is true.
    pub async fn until(&self, sql: &str) {
        self.until_within(sql, PATIENCE).await;
    }

    pub async fn until_within(&self, sql: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
            assert!(Instant::now() < deadline, "not within {limit:?}: {sql}\n{}", self.worker_logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn until_empty(&self) {
        self.until("SELECT NOT EXISTS (SELECT FROM matrix_outbox)").await;
    }

    pub async fn state(&self) -> Option<String> {
        let sql = "SELECT state FROM matrix_backend_status WHERE backend_id = $1";
        self.client.query_opt(sql, &[&self.backend]).await.unwrap().map(|row| row.get(0))
    }

    /// As if so much time had passed for lanes that rest and backends that are stopped: their next try is due, and what fails has
    /// failed for longer. The process' own clocks stay.
    pub async fn later(&self, seconds: i32) {
        let sql = format!(
            "UPDATE matrix_lane SET first_failed_at = first_failed_at - interval '{seconds} s',
                retry_at = CASE WHEN retry_at IS NOT NULL THEN now() AT TIME ZONE 'UTC' END
            WHERE lease_until IS NULL AND first_failed_at IS NOT NULL;
            UPDATE matrix_backend_status SET next_probe_at = now() AT TIME ZONE 'UTC' WHERE next_probe_at IS NOT NULL;
            NOTIFY matrix_outbox"
        );
        self.client.batch_execute(&sql).await.unwrap();
    }

    /// Waits until the lane of `room` rests after a failed try.
    pub async fn until_resting(&self, room: &str) {
        let lane = format!("{}/{room}", self.backend);
        self.until(&format!(
            "SELECT EXISTS (SELECT FROM matrix_lane WHERE lane = '{lane}' AND retry_at > now() AT TIME ZONE 'UTC')"
        ))
        .await;
    }

    /// What must be true after every delivery, whatever went wrong on the way: nothing is lost or doubled, every message has
    /// one final row, and nobody holds a lane. `ids` are all messages that were committed.
    pub async fn assert_settled(&self, ids: &[i64]) {
        self.until_empty().await;
        self.until("SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE lease_until IS NOT NULL)").await;
        let mut finals: HashMap<i64, usize> = HashMap::new();
        let log = self.log().await;
        for row in log.iter().filter(|row| row.is_final) {
            *finals.entry(row.outbox_id).or_default() += 1;
        }
        for id in ids {
            assert_eq!(finals.get(id), Some(&1), "final log rows of message {id}");
        }
        assert_eq!(finals.len(), ids.len());
        let events = self.homeserver.events();
        let distinct: HashSet<_> = events.iter().map(|event| &event.txn_id).collect();
        assert_eq!(distinct.len(), events.len(), "a message appears twice in its room");
        let (delivered, failed): (Vec<_>, Vec<_>) = log.iter().partition(|row| row.status == "ok");
        assert_eq!(delivered.len(), events.len(), "ok rows against events; failed: {failed:?}");
    }

    /// Messages of [`World::enqueue_many`] are in each room in the order of their rounds.
    pub fn assert_in_order(&self, rooms: &[&str], body: &str, count: i32) {
        let wanted: Vec<_> = (1..=count).map(|round| format!("{body} {round}")).collect();
        for room in rooms {
            assert_eq!(self.homeserver.bodies(room), wanted, "{room}");
        }
    }
}

/// Kills a worker as `kill -9` does.
pub async fn kill(worker: &Process) {
    worker.stop(Signal::KILL).await.unwrap();
}
