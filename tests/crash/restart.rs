//! The database server goes away and comes back, or ends sessions, while messages stream in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use stack::{
    postgres::{Options, Postgres, Server, Shutdown},
    report,
    world::World,
};
use tokio_postgres::Client;

use crate::{
    BINARY,
    common::{alone, longest},
};

const ROOMS: usize = 20;
const PER_SECOND: usize = 500;
const TICK: Duration = Duration::from_millis(50);

/// Which sessions end. The one that holds the lock of a worker's name is a listener.
const ALL: &str = "pid <> pg_backend_pid()";
const LISTENER: &str = "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1836348025)";
const POOL: &str = "starts_with(application_name, 'odoo-matrix-worker')
    AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1836348025)";

#[derive(Clone, Copy, Debug)]
enum Fault {
    Restart(Shutdown),
    Terminate(&'static str),
}

/// Each fault four times with SOAK=1, else twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_resumes_after_each_restart_and_no_worker_exits() {
    let _alone = alone().await;
    let faults = [
        Fault::Restart(Shutdown::Fast),
        Fault::Restart(Shutdown::Immediate),
        Fault::Terminate(ALL),
        Fault::Terminate(LISTENER),
        Fault::Terminate(POOL),
    ];
    // What was committed must outlive an immediate stop.
    let postgres = Postgres::cluster(Options { durable: true, ..Options::default() }).await.unwrap();
    let mut world = World::on(&postgres, BINARY).await;
    let worker = world.worker("w1");
    let stop = Arc::new(AtomicBool::new(false));
    let stream = Stream {
        server: world.database.server().clone(),
        database: world.database.name().to_owned(),
        backend: world.backend,
        stop: stop.clone(),
    };
    let streaming = tokio::spawn(stream.run());
    let mut markers = Vec::new();
    let mut resumed = Vec::new();

    let cycles = report::scale(10, 20);
    for cycle in 0..cycles {
        let fault = faults[cycle % faults.len()];
        world.homeserver.until_events(world.homeserver.count() + 10).await;
        let listens = format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {LISTENER})");
        world.until(&listens).await;
        match fault {
            Fault::Restart(how) => postgres.restart(how).await.unwrap(),
            Fault::Terminate(which) => {
                let sql = format!(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND {which}"
                );
                let ended: i64 = world.client.query_one(&sql, &[]).await.unwrap().get(0);
                assert!(ended > 0, "{fault:?} met nobody");
            }
        }
        let accepts = Instant::now();
        world.client = world.database.connect().await.unwrap();
        let marker = format!("after {cycle}");
        markers.push(world.enqueue("!marker:double.test", &marker).await);
        world.homeserver.until(&marker, |double| double.last_body("!marker:double.test") == Some(marker.clone())).await;
        resumed.push(accepts.elapsed());
        assert_eq!(worker.exit_status().unwrap(), None, "{fault:?}\n{}", worker.tail());
    }
    stop.store(true, Ordering::Relaxed);
    let rows = streaming.await.unwrap();

    world.until_empty().await;
    let streamed: Vec<i64> = world
        .client
        .query("SELECT outbox_id FROM matrix_log WHERE is_final AND txn_id LIKE 'stream %'", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(streamed.len(), rows, "each message of the stream has one final row");
    world.assert_settled(&[streamed, markers].concat()).await;
    for room in 0..ROOMS {
        let wanted: Vec<_> =
            (0..rows).filter(|number| number % ROOMS == room).map(|number| number.to_string()).collect();
        assert_eq!(world.homeserver.bodies(&room_name(room)), wanted);
    }

    let slowest = longest(resumed);
    report::record_form(
        "PostgreSQL restart -m fast, -m immediate, all, listener, pool terminated",
        &format!(
            "{cycles} cycles under {PER_SECOND} rows/s; resumes ≤ 5 s after it accepts; the worker process never exits"
        ),
        &format!("{rows} rows; resumed after at most {:.2} s", slowest.as_secs_f64()),
    );
    assert!(slowest <= Duration::from_secs(5), "{slowest:?}");
}

/// Odoo, as far as the database sees it: commits, and tries again what was not committed.
struct Stream {
    server: Server,
    database: String,
    backend: i32,
    stop: Arc<AtomicBool>,
}

impl Stream {
    /// Returns how many messages were committed.
    async fn run(self) -> usize {
        let each = PER_SECOND * usize::try_from(TICK.as_millis()).unwrap() / 1000;
        let mut client = self.connect().await;
        // The load is a rate, whatever the server does.
        let mut ticks = tokio::time::interval(TICK);
        let mut committed = 0;
        while !self.stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            while !self.queue(&client, committed, each).await {
                client = self.connect().await;
                if Self::is_there(&client, committed).await {
                    break;
                }
            }
            committed += each;
        }
        committed
    }

    async fn queue(&self, client: &Client, from: usize, count: usize) -> bool {
        let numbers: Vec<_> = (from..from + count).map(|number| number.to_string()).collect();
        let rooms: Vec<_> = (from..from + count).map(|number| room_name(number % ROOMS)).collect();
        let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
            SELECT $1, 'manual', room, jsonb_build_object('msgtype', 'm.text', 'body', number), 'stream ' || number
            FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS t (room, number, nth) ORDER BY nth";
        client.execute(sql, &[&self.backend, &rooms, &numbers]).await.is_ok()
    }

    async fn is_there(client: &Client, number: usize) -> bool {
        let sql = "SELECT EXISTS (SELECT FROM matrix_outbox WHERE txn_id = $1) OR EXISTS (SELECT FROM matrix_log WHERE txn_id = $1)";
        client.query_one(sql, &[&format!("stream {number}")]).await.is_ok_and(|row| row.get(0))
    }

    async fn connect(&self) -> Client {
        loop {
            if let Ok(client) = self.server.connect(&self.database).await {
                return client;
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

fn room_name(number: usize) -> String {
    format!("!room{number}:double.test")
}
