//! What encryption costs in rooms with 5, 50 and 500 devices, beside the same messages in rooms that are not encrypted: for
//! `docs/performance.md`. `make bench` builds the release build that it measures.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use stack::{
    postgres::{Options, Postgres},
    process::{Process, Signal},
    relay::Relay,
    synapse::User,
    usage::{self, percentile},
    world::World,
};

use crate::{
    delivery::Office,
    people::{Reader, STRICT},
};

/// People, and the devices of each.
const ROOMS: [(usize, usize); 3] = [(5, 1), (10, 5), (20, 25)];
/// For the real homeserver.
const MESSAGES: i32 = 300;
/// For one that answers at once, so that the worker's own cost can be seen. A key serves for a hundred messages.
const MANY: i32 = 3000;
const SINGLE: usize = 100;
const CALM: [(&str, &str); 3] = [("RUST_LOG", "warn"), ("HTTP_TIMEOUT_SECONDS", "20"), ("WORKER_LEASE_SECONDS", "60")];

struct Scene {
    office: Office,
    relay: Relay,
    worker: Process,
    people: Vec<User>,
}

impl Scene {
    async fn open(postgres: &Postgres, people: usize, devices: usize) -> (Self, Reader) {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let release = target.join("release/odoo-matrix-worker");
        assert!(release.exists(), "{} is not there: `make bench` builds it", release.display());
        let office = Office::on(World::on(postgres, release.to_str().unwrap()).await).await;
        let mut users = Vec::new();
        for number in 0..people {
            let user = office.person(&format!("person{number}")).await;
            for _ in 1..devices {
                Reader::new(&office.synapse, &office.synapse.log_in(&user, "in").await.unwrap()).await;
            }
            users.push(user);
        }
        let reader = Reader::new(&office.synapse, &users[0]).await;
        for user in &users[1..] {
            Reader::new(&office.synapse, user).await;
        }
        let relay = Relay::start(office.synapse.url()).await.unwrap();
        let sql = "UPDATE matrix_backend SET homeserver_url = $1";
        office.world.client.execute(sql, &[&relay.url()]).await.unwrap();
        let worker = office.worker_with("w1", &CALM);
        office.world.until("SELECT EXISTS (SELECT FROM matrix_crypto WHERE signature = 'signed')").await;
        (Self { office, relay, worker, people: users }, reader)
    }

    async fn room(&self, is_encrypted: bool) -> String {
        let everybody: Vec<_> = self.people.iter().collect();
        if is_encrypted { self.office.encrypted_room(&everybody).await } else { self.office.room(&everybody).await }
    }

    /// Milliseconds from the commit of a message until the homeserver has it.
    async fn one(&self, room: &str, body: &str) -> f64 {
        let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::double precision";
        let began: f64 = self.office.world.client.query_one(now, &[]).await.unwrap().get(0);
        let row = self.office.deliver(room, body).await;
        assert_eq!((row.status.as_str(), &row.error_code), ("ok", &None), "{row:?}");
        let events = self.people[0].timeline(room).await.unwrap();
        let arrived = events.iter().find(|event| Some(&event.event_id) == row.event_id.as_ref()).unwrap().sent_at_ms;
        arrived as f64 - began
    }

    /// Messages per second, and the worker's CPU seconds per 1,000, of `count` messages that wait.
    async fn drain(&self, room: &str, count: i32) -> (f64, f64) {
        let (cpu, began) = (usage::cpu(self.worker.id()), Instant::now());
        self.office.world.enqueue_many(&[room], "message", count).await;
        self.office.world.until_within("SELECT NOT EXISTS (SELECT FROM matrix_outbox)", Duration::from_secs(300)).await;
        let took = began.elapsed().as_secs_f64();
        (f64::from(count) / took, (usage::cpu(self.worker.id()) - cpu) / f64::from(count) * 1000.0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: make bench"]
#[expect(clippy::print_stdout, reason = "the figures are for people to read")]
async fn what_encryption_costs_with_5_50_and_500_devices() {
    let postgres = Postgres::cluster(Options { durable: true, ..Options::default() }).await.unwrap();
    let mut table = vec![
        format!("\n{}\n", usage::machine()),
        "| devices | room | first message | then p50 / p99 | messages/s | at once: messages/s | worker CPU s per 1,000 | peak memory |".to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for (people, devices) in ROOMS {
        let (scene, mut reader) = Scene::open(&postgres, people, devices).await;
        for (kind, is_encrypted) in [("plain", false), ("encrypted", true)] {
            let room = scene.room(is_encrypted).await;
            let first = scene.one(&room, "first").await;
            let mut times = Vec::new();
            for number in 0..SINGLE {
                times.push(scene.one(&room, &format!("single {number}")).await);
            }
            times.sort_unstable_by(f64::total_cmp);
            let (speed, _) = scene.drain(&room, MESSAGES).await;
            if is_encrypted {
                let read = reader.read(&room, STRICT).await;
                assert!(read.iter().all(Result::is_ok), "{read:?}");
            }
            scene.relay.answer("/send/m.room.", r#"{"event_id":"$answered"}"#);
            let (at_once, cpu) = scene.drain(&room, MANY).await;
            scene.relay.heal();
            let row = format!(
                "| {} | {kind} | {first:.0} ms | {:.1} / {:.1} ms | {speed:.1} | {at_once:.0} | {cpu:.2} | {:.0} MB |",
                people * devices,
                percentile(&times, 50),
                percentile(&times, 99),
                usage::peak_memory(scene.worker.id()),
            );
            println!("{row}");
            table.push(row);
        }
        scene.worker.stop(Signal::TERM).await.unwrap();
    }
    println!("{}", table.join("\n"));
}
