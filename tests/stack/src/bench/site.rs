//! The place of the measurements: a durable PostgreSQL, the double, and workers, from nothing for each run.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use stack::{
    postgres::{Database, Options, Postgres},
    process::{Process, Signal},
    usage,
    worker::Launch,
};
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_postgres::Client;

use super::double::Double;

/// How long one drain may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the worker asks of the planner, for the statements that are run without it.
const PLANNER: &str =
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off";

pub(crate) struct Site {
    pub(crate) double: Double,
    pub(crate) client: Client,
    launch: Launch,
    postmaster: u32,
    logs: TempDir,
    database: Database,
    _postgres: Postgres,
}

/// What waits, and how it is drained.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) rows: u32,
    pub(crate) rooms: u32,
    /// Bytes of each body.
    pub(crate) bytes: u32,
    /// Of a hundred messages, so many are for one room.
    pub(crate) hot_percent: u32,
    pub(crate) delay: Duration,
    pub(crate) concurrency: usize,
    pub(crate) workers: usize,
    pub(crate) limit: Option<(f64, f64)>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            rows: 10_000,
            rooms: 200,
            bytes: 100,
            hot_percent: 0,
            delay: Duration::ZERO,
            concurrency: 64,
            workers: 1,
            limit: None,
        }
    }
}

/// What a drain took.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) worker_cpu_per_1000: f64,
    pub(crate) postgres_cpu_per_1000: f64,
    pub(crate) statements_per_1000: f64,
    pub(crate) wal_per_message: f64,
    pub(crate) peak_memory: f64,
    pub(crate) refused: u64,
    pub(crate) faults: u64,
    /// The statements that took the most time of the server, with it.
    pub(crate) profile: Vec<(String, i64, f64)>,
}

impl Site {
    pub(crate) async fn start(binary: PathBuf) -> Result<Self> {
        ensure!(binary.exists(), "{} is not there; `make bench` builds it", binary.display());
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let settings = vec![
            setting("shared_preload_libraries", "pg_stat_statements"),
            setting("shared_buffers", "512MB"),
            setting("max_wal_size", "8GB"),
            setting("checkpoint_timeout", "30min"),
        ];
        let postgres = Postgres::cluster(Options { durable: true, settings }).await?;
        let mut database = postgres.database("bench").await;
        let client = database.connect().await?;
        let schema = std::process::Command::new(&binary).arg("schema").output()?;
        client.batch_execute(&String::from_utf8(schema.stdout)?).await?;
        client.batch_execute("CREATE EXTENSION pg_stat_statements").await?;
        let launch = Launch::prepare(&binary, &mut database).await?.variable("RUST_LOG", "warn");
        let double = Double::start().await?;
        let sql = "INSERT INTO matrix_backend (name, homeserver_url, token_sealed) VALUES ('bench', $1, 'plain:bench')";
        client.execute(sql, &[&double.url]).await?;
        let pid: String =
            client.query_one("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)", &[]).await?.get(0);
        let logs = TempDir::new()?;
        Ok(Self { double, client, launch, postmaster: pid.parse()?, logs, database, _postgres: postgres })
    }

    /// Connections for statements without the worker.
    pub(crate) async fn connections(&self, count: usize) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        for _ in 0..count {
            let client = self.database.connect().await?;
            client.batch_execute(PLANNER).await?;
            clients.push(client);
        }
        Ok(clients)
    }

    /// Empties all tables and queues the messages; message `n` has the transaction id `bench-n`.
    pub(crate) async fn fill(&self, load: &Load) -> Result<()> {
        self.client
            .batch_execute(
                "TRUNCATE matrix_outbox, matrix_log, matrix_lane, matrix_backend_status RESTART IDENTITY;
                ALTER TABLE matrix_outbox DISABLE TRIGGER USER",
            )
            .await?;
        // Text that compresses as letters do, not as a repeated one.
        let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
            SELECT b.id, 'test', '!room' || CASE WHEN n % 100 < $4::bigint THEN 0 ELSE n % $2::bigint END || ':bench.invalid',
                jsonb_build_object('msgtype', 'm.text', 'body', substr(base.text, 1 + (n % 64)::integer, $3::integer)), 'bench-' || n
            FROM matrix_backend AS b, generate_series(1, $1::bigint) AS n,
                (SELECT string_agg(md5(i::text), '') AS text FROM generate_series(1, 2 + $3::integer / 32 + 2) AS i) AS base
            ORDER BY n";
        let (rows, rooms, hot) = (i64::from(load.rows), i64::from(load.rooms), i64::from(load.hot_percent));
        let bytes = i32::try_from(load.bytes)?;
        self.client.execute(sql, &[&rows, &rooms, &bytes, &hot]).await?;
        self.client
            .batch_execute("ALTER TABLE matrix_outbox ENABLE TRIGGER USER; SELECT pg_stat_statements_reset()")
            .await?;
        Ok(())
    }

    pub(crate) fn worker(&self, number: usize, concurrency: usize) -> Result<Process> {
        let mut command = self.launch.command(&["run"]);
        command.env("WORKER_NAME", format!("w{number}")).env("WORKER_CONCURRENCY", concurrency.to_string());
        Process::spawn("the worker", command, &self.logs.path().join(format!("w{number}.log")))
    }

    /// Fills, drains with workers of their own, and counts what is durable.
    pub(crate) async fn drain(&self, load: &Load) -> Result<Drain> {
        let wal_before = self.wal().await?;
        self.fill(load).await?;
        self.double.begin(load.delay, load.limit);
        let postgres_before = usage::cpu_with_children(self.postmaster);
        let workers =
            (0..load.workers).map(|number| self.worker(number, load.concurrency)).collect::<Result<Vec<_>>>()?;
        let deadline = Instant::now() + PATIENCE;
        while self.double.count() < load.rows as usize || !self.is_empty().await? {
            if Instant::now() > deadline {
                bail!("{} of {} messages within {PATIENCE:?}\n{}", self.double.count(), load.rows, workers[0].tail());
            }
            sleep(Duration::from_millis(10)).await;
        }
        let ended = Instant::now();
        let first = self.double.seen().first.context("nothing came")?;
        let thousands = f64::from(load.rows) / 1000.0;
        let worker_cpu: f64 = workers.iter().map(|worker| usage::cpu(worker.id())).sum();
        let postgres_cpu = usage::cpu_with_children(self.postmaster) - postgres_before;
        let peak_memory = workers.iter().map(|worker| usage::peak_memory(worker.id())).fold(0.0, f64::max);
        let wal = self.wal().await? - wal_before;
        for worker in &workers {
            worker.stop(Signal::TERM).await?;
        }
        let statements = "SELECT query, calls, total_exec_time FROM pg_stat_statements AS s
            JOIN pg_roles AS r ON r.oid = s.userid WHERE r.rolname = $1 ORDER BY total_exec_time DESC";
        let rows = self.client.query(statements, &[&self.launch.role()]).await?;
        let calls: i64 = rows.iter().map(|row| row.get::<_, i64>(1)).sum();
        let sql = "SELECT count(*) FILTER (WHERE status = 'ok'), count(DISTINCT outbox_id) FROM matrix_log";
        let row = self.client.query_one(sql, &[]).await?;
        let (ok, distinct): (i64, i64) = (row.get(0), row.get(1));
        let wrong = (i64::from(load.rows) - ok).unsigned_abs() + (i64::from(load.rows) - distinct).unsigned_abs();
        let seen = self.double.seen();
        let seconds = ended.duration_since(first).as_secs_f64();
        Ok(Drain {
            seconds,
            per_second: f64::from(load.rows) / seconds,
            worker_cpu_per_1000: worker_cpu / thousands,
            postgres_cpu_per_1000: postgres_cpu / thousands,
            statements_per_1000: calls as f64 / thousands,
            wal_per_message: wal / f64::from(load.rows),
            peak_memory,
            refused: seen.refused,
            faults: wrong + seen.repeated + seen.out_of_order,
            profile: rows.iter().take(4).map(|row| (title(row.get(0)), row.get(1), row.get(2))).collect(),
        })
    }

    /// The worker's peak memory in MB while it drains a large backlog for a while.
    pub(crate) async fn peak_while_draining(&self, load: &Load, time: Duration) -> Result<f64> {
        self.fill(load).await?;
        self.double.begin(load.delay, None);
        let worker = self.worker(0, load.concurrency)?;
        sleep(time).await;
        let peak = usage::peak_memory(worker.id());
        worker.stop(Signal::TERM).await?;
        Ok(peak)
    }

    /// Durable messages per second while it drains what waits for a while.
    pub(crate) async fn rate_while_draining(&self, load: &Load, time: Duration) -> Result<f64> {
        self.double.begin(load.delay, None);
        let worker = self.worker(0, load.concurrency)?;
        let logged = "SELECT count(*) FROM matrix_log";
        // Connections are made and plans are ready.
        sleep(Duration::from_secs(2)).await;
        let (began, before) = (Instant::now(), self.client.query_one(logged, &[]).await?.get::<_, i64>(0));
        sleep(time).await;
        let after: i64 = self.client.query_one(logged, &[]).await?.get(0);
        let rate = (after - before) as f64 / began.elapsed().as_secs_f64();
        worker.stop(Signal::TERM).await?;
        Ok(rate)
    }

    /// Commit → arrival in ms, sorted, of `count` messages, one every `pause`, to a worker that has nothing else to do; then what
    /// it costs when there is nothing to do at all: CPU seconds and statements, both per minute.
    pub(crate) async fn single(
        &self,
        count: u64,
        pause: Duration,
        idle: Duration,
    ) -> Result<(Vec<f64>, f64, f64, f64)> {
        self.fill(&Load { rows: 0, ..Load::default() }).await?;
        self.double.begin(Duration::ZERO, None);
        let worker = self.worker(0, 64)?;
        let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
            SELECT id, 'test', '!room' || $1 % 20 || ':bench.invalid', '{\"msgtype\": \"m.text\", \"body\": \"One\"}', 'bench-' || $1
            FROM matrix_backend";
        let insert = self.client.prepare_typed(sql, &[tokio_postgres::types::Type::INT8]).await?;
        let mut committed = Vec::new();
        // The first ones find connections that are still to be made and rooms that were never looked at.
        let warm_up = 25;
        let mut cpu_before = 0.0;
        for number in 0..count + warm_up {
            if number == warm_up {
                cpu_before = usage::cpu(worker.id());
            }
            sleep(pause).await;
            self.client.execute(&insert, &[&i64::try_from(number)?]).await?;
            committed.push(Instant::now());
        }
        while self.double.count() < committed.len() {
            sleep(Duration::from_millis(10)).await;
        }
        let cpu = (usage::cpu(worker.id()) - cpu_before) / count as f64 * 1000.0;
        let mut times: Vec<_> = {
            let seen = self.double.seen();
            let measured = committed.iter().zip(0..).skip(warm_up as usize);
            measured
                .filter_map(|(at, number)| {
                    Some(seen.arrivals.get(&number)?.saturating_duration_since(*at).as_secs_f64() * 1000.0)
                })
                .collect()
        };
        times.sort_unstable_by(f64::total_cmp);
        // The polls after the last wake-up are over.
        sleep(Duration::from_secs(3)).await;
        let (cpu_before, calls_before) = (usage::cpu(worker.id()), self.calls().await?);
        sleep(idle).await;
        let minutes = idle.as_secs_f64() / 60.0;
        let idle_cpu = (usage::cpu(worker.id()) - cpu_before) / idle.as_secs_f64() * 100.0;
        let idle_calls = (self.calls().await? - calls_before) as f64 / minutes;
        worker.stop(Signal::TERM).await?;
        Ok((times, cpu, idle_cpu, idle_calls))
    }

    async fn calls(&self) -> Result<i64> {
        let sql =
            "SELECT COALESCE(sum(calls), 0)::bigint FROM pg_stat_statements AS s JOIN pg_roles AS r ON r.oid = s.userid
            WHERE r.rolname = $1";
        Ok(self.client.query_one(sql, &[&self.launch.role()]).await?.get(0))
    }

    async fn is_empty(&self) -> Result<bool> {
        Ok(self.client.query_one("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", &[]).await?.get(0))
    }

    async fn wal(&self) -> Result<f64> {
        let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::double precision";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }
}

/// The first words of a statement's header.
fn title(text: &str) -> String {
    let words = text.trim_start_matches("-- ").lines().next().unwrap_or_default();
    words.chars().take(60).collect()
}
