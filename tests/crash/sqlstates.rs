//! Every error that PostgreSQL may raise for a statement that worked yesterday, at every statement of delivery.

use std::time::{Duration, Instant};

use stack::{
    homeserver::Fault,
    process::{Process, Signal},
    proxy::{CONNECT, Harm, Proxy},
    report,
    world::World,
};

use crate::{
    BINARY,
    common::{LISTENS, Producer, alone, cluster, side_by_side, statement},
};

const STATES: [&str; 13] = [
    "57P01", "57P02", "57P03", "08006", "53300", "40001", "40P01", "55P03", "57014", "25006", "42501", "42P01", "42703",
];

/// How long a refusal lasts, and how often a worker without a busy loop may meet it in that time.
const REFUSES_FOR: Duration = Duration::from_secs(1);
const AT_MOST: usize = 20;

/// What makes the worker run a statement.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause {
    Message,
    /// A lane that is held for longer than a third of its lease.
    SlowHomeserver,
    Limit,
    /// The account is limited, and its only lane is leased elsewhere.
    SlotInVain,
    /// Two failures of one message, and `whoami` fails too: one room alone stops no account.
    Outage,
    /// The homeserver is back after an outage.
    Return,
    /// A backend that was stopped gets a new configuration.
    NewConfiguration,
    NewListener,
    /// Another session holds the worker's name.
    NameTaken,
    NewConnections,
    Start,
    Stop,
}

/// The slowest first: without its tables the worker looks every ten seconds, and a state that it cannot record it keeps for five.
const STATEMENTS: [(&str, Cause); 24] = [
    ("contract_version", Cause::Start),
    ("status_limited", Cause::Limit),
    ("status_stopped", Cause::Outage),
    ("ring", Cause::Message),
    ("claim", Cause::Message),
    ("messages", Cause::Message),
    ("complete", Cause::Message),
    ("renew", Cause::SlowHomeserver),
    ("status_slot", Cause::Limit),
    ("status_slot_back", Cause::SlotInVain),
    ("status_eased", Cause::Limit),
    ("passed_between", Cause::Outage),
    ("status_probe", Cause::Return),
    ("status_ok", Cause::Return),
    ("status_reset", Cause::NewConfiguration),
    ("backends", Cause::NewConfiguration),
    ("LISTEN matrix_outbox", Cause::NewListener),
    ("take_over", Cause::Start),
    ("take_name", Cause::NameTaken),
    ("pg_listening_channels", Cause::NameTaken),
    (CONNECT, Cause::NewConnections),
    ("worker_seen", Cause::Start),
    ("clock_set_back", Cause::Start),
    ("worker_gone", Cause::Stop),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sqlstate_at_each_statement_is_survived_and_reported() {
    let _alone = alone().await;

    let most = side_by_side(11, STATEMENTS.to_vec(), |(name, cause)| play(name, cause)).await;

    report::record(
        "each SQLSTATE of a database that refuses, at each statement",
        &format!(
            "{} states at {} statements for {} s each; nothing lost, reported, at most {AT_MOST} attempts, the worker lives",
            STATES.len(),
            STATEMENTS.len(),
            REFUSES_FOR.as_secs()
        ),
        &format!("all survived and reported; at most {} attempts", most.into_iter().max().unwrap_or_default()),
    );
}

/// Returns how often a refusal was met at most.
async fn play(name: &'static str, cause: Cause) -> usize {
    let mut stage = Stage::new().await;
    let is_file = name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_') && !name.starts_with("pg_");
    let text = if is_file { statement(name) } else { name.to_owned() };
    let mut most = 0;
    for state in STATES {
        stage.prepare(cause).await;
        let before = stage.proxy.harmed();
        let reported = |stage: &Stage| stage.world.worker_logs().matches(state).count();
        let reported_before = reported(&stage);

        stage.proxy.spoil(&text, 0, usize::MAX, Harm::Refuse(state));
        stage.cause(cause).await;
        stage.until(&format!("{state} at {name}"), |stage| stage.proxy.harmed() > before).await;
        stage.until(&format!("word of {state} at {name}"), |stage| reported(stage) > reported_before).await;
        // A refusal that lasts for a while reveals a busy loop.
        tokio::time::sleep(REFUSES_FOR).await;
        let met = stage.proxy.harmed() - before;
        stage.proxy.heal();

        stage.recover(cause).await;
        assert!(met <= AT_MOST, "{state} at {name} was met {met} times");
        most = most.max(met);
    }
    most
}

struct Stage {
    world: World,
    proxy: Proxy,
    producer: Producer,
    worker: Option<Process>,
    /// Keeps the worker's name taken while it is there.
    rival: Option<tokio_postgres::Client>,
}

impl Stage {
    async fn new() -> Self {
        let world = World::on(cluster().await, BINARY).await;
        let proxy = Proxy::start(world.database.server()).await.unwrap();
        let mut stage = Self { world, proxy, producer: Producer::new(1), worker: None, rival: None };
        stage.start();
        stage.world.until("SELECT EXISTS (SELECT FROM matrix_worker)").await;
        // The name is taken after LISTEN, and is how the causes find the listener.
        stage.world.until(LISTENS).await;
        stage
    }

    fn start(&mut self) {
        let url = self.proxy.url(&self.world.launch.url());
        self.worker = Some(self.world.worker_with("w1", &[("DATABASE_URL", &url)]));
    }

    /// Before the refusal begins.
    async fn prepare(&mut self, cause: Cause) {
        match cause {
            Cause::Return | Cause::NewConfiguration => {
                self.world.homeserver.fail_always(Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
                self.producer.more(&self.world, 1).await;
                self.world.until("SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'down')").await;
                self.world.homeserver.heal();
            }
            Cause::Start => self.stop().await,
            _ => {}
        }
    }

    async fn cause(&mut self, cause: Cause) {
        let world = &self.world;
        match cause {
            Cause::Message => self.producer.more(world, 1).await,
            Cause::SlowHomeserver => {
                world.homeserver.delay(Duration::from_millis(300));
                self.producer.more(world, 8).await;
            }
            Cause::Limit => {
                world.homeserver.fail_next(1, Fault::Limit { retry_after_ms: 100 });
                self.producer.more(world, 2).await;
            }
            Cause::SlotInVain => {
                // The walk finds the lane free; the claim finds its row locked and leases nothing.
                let lane = format!("{}/{}", world.backend, self.producer.rooms[0]);
                let limited = format!(
                    "INSERT INTO matrix_lane (lane) VALUES ('{lane}') ON CONFLICT (lane) DO NOTHING;
                    INSERT INTO matrix_backend_status AS s (backend_id, config_version, state, paused_until, next_send_at, interval_ms)
                    SELECT id, config_version, 'rate_limited', now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', 50 FROM matrix_backend
                    ON CONFLICT (backend_id) DO UPDATE SET state = excluded.state, paused_until = excluded.paused_until,
                        next_send_at = excluded.next_send_at, interval_ms = excluded.interval_ms"
                );
                world.client.batch_execute(&limited).await.unwrap();
                let rival = world.database.connect().await.unwrap();
                let lock = format!("BEGIN; SELECT FROM matrix_lane WHERE lane = '{lane}' FOR UPDATE");
                rival.batch_execute(&lock).await.unwrap();
                self.rival = Some(rival);
                self.producer.more(world, 1).await;
            }
            Cause::Outage => {
                world.homeserver.fail_always(Fault::Refuse { status: 500, errcode: "M_UNKNOWN" });
                self.producer.more(world, 1).await;
            }
            Cause::Return => nudge(world).await,
            Cause::NewConfiguration => {
                world.client.execute("UPDATE matrix_backend SET verify_ssl = NOT verify_ssl", &[]).await.unwrap();
            }
            Cause::NewListener => {
                terminate(world, "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')").await
            }
            Cause::NameTaken => {
                let rival = world.database.connect().await.unwrap();
                terminate(world, "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')").await;
                rival.execute("SELECT pg_advisory_lock(1836348025, hashtext('w1'))", &[]).await.unwrap();
                self.rival = Some(rival);
            }
            Cause::NewConnections => terminate(world, "starts_with(application_name, 'odoo-matrix-worker')").await,
            Cause::Start => self.start(),
            Cause::Stop => self.worker.as_ref().unwrap().signal(Signal::TERM).unwrap(),
        }
    }

    /// After the refusal has ended: what waits goes out, and the worker is the same as before.
    async fn recover(&mut self, cause: Cause) {
        self.world.homeserver.heal();
        self.world.homeserver.delay(Duration::ZERO);
        self.rival = None;
        if cause == Cause::Stop {
            self.stop().await;
            self.start();
        }
        self.producer.more(&self.world, 1).await;
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self
            .world
            .client
            .query_one("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
        {
            assert!(Instant::now() < deadline, "{cause:?}: not delivered\n{}", self.world.worker_logs());
            nudge(&self.world).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.producer.assert_delivered(&self.world).await;
        let worker = self.worker.as_ref().unwrap();
        assert_eq!(worker.exit_status().unwrap(), None, "{cause:?}\n{}", worker.tail());
        self.world.until(LISTENS).await;
        if cause == Cause::Stop {
            // Who was never listed takes no row away when it stops.
            self.world.until(&format!("SELECT EXISTS (SELECT FROM matrix_worker WHERE pid = {})", worker.id())).await;
        }
    }

    async fn stop(&mut self) {
        if let Some(worker) = self.worker.take() {
            // It may have been reported already.
            let _ = worker.signal(Signal::TERM);
            assert!(worker.wait(Duration::from_secs(30)).await.unwrap().success());
        }
    }

    async fn until(&self, what: &str, seen: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !seen(self) {
            assert!(Instant::now() < deadline, "{what} did not come\n{}", self.world.worker_logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// It is time to probe, and to look what there is.
async fn nudge(world: &World) {
    let due = "UPDATE matrix_backend_status SET next_probe_at = now() AT TIME ZONE 'UTC' WHERE next_probe_at IS NOT NULL; NOTIFY matrix_outbox";
    world.client.batch_execute(due).await.unwrap();
}

async fn terminate(world: &World, which: &str) {
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND {which}"
    );
    world.client.execute(&sql, &[]).await.unwrap();
}
