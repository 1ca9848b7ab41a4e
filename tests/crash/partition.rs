//! A worker on a machine of its own, as far as the network is concerned, that loses the database but not the homeserver.

use std::{
    net::Ipv4Addr,
    process::Command,
    time::{Duration, Instant},
};

use stack::{debian, proxy::Proxy, report, world::World};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    BINARY,
    common::{LEASE, Producer, beside},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_cut_from_the_database_is_fenced_and_another_takes_over() {
    let _turn = beside().await;
    let network = Network::new().await;
    let world = World::new(BINARY).await;
    let database = Proxy::start_at(network.database, world.database.server()).await.unwrap();
    let (homeserver, _forwarding) = forward(network.homeserver, world.homeserver.port()).await;
    let url = format!("http://{}:{homeserver}", network.homeserver);
    world.client.execute("UPDATE matrix_backend SET homeserver_url = $1", &[&url]).await.unwrap();
    let far = database.url(&world.launch.url());
    let cut_off = world.worker_through(&["ip", "netns", "exec", &network.name], "far", &[("DATABASE_URL", &far)]);
    world.until("SELECT EXISTS (SELECT FROM matrix_worker WHERE name = 'far')").await;
    world.homeserver.delay(Duration::from_millis(200));
    let mut producer = Producer::new(8);
    producer.more(&world, 12).await;
    world.homeserver.until_events(16).await;
    let _near = world.worker("near");
    world.until("SELECT EXISTS (SELECT FROM matrix_worker WHERE name = 'near')").await;

    network.cut();
    let cut = Instant::now();
    world
        .until(
            "SELECT NOT EXISTS (SELECT FROM matrix_lane WHERE starts_with(owner, 'far/') AND lease_until IS NOT NULL)",
        )
        .await;
    let taken_over = cut.elapsed();
    world.until_empty().await;
    assert_eq!(cut_off.exit_status().unwrap(), None, "{}", cut_off.tail());
    network.repair();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !world.worker_logs().contains("was taken over by another worker") {
        assert!(Instant::now() < deadline, "the results of the cut-off worker were not fenced\n{}", cut_off.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    producer.more(&world, 2).await;
    producer.assert_delivered(&world).await;
    report::record(
        "partition: a worker in a network of its own loses the database mid-send",
        "8 rooms, 112 messages, lease 3 s; the other takes over, the cut one is fenced",
        &format!("taken over after {:.1} s; fenced; each message once and in order", taken_over.as_secs_f64()),
    );
    assert!(taken_over <= LEASE + Duration::from_secs(1), "{taken_over:?}");
}

/// A network namespace with one cable to the database and one to the homeserver.
struct Network {
    name: String,
    /// Our ends of the cables.
    database: Ipv4Addr,
    homeserver: Ipv4Addr,
    cable: String,
}

impl Network {
    async fn new() -> Self {
        let has_ip = Command::new("ip").arg("-V").output().is_ok();
        if !has_ip {
            debian::install(&["iproute2"]).await.unwrap();
        }
        let id = std::process::id();
        let [_, _, third, fourth] = id.to_be_bytes();
        let address = |last: u8| Ipv4Addr::new(10, third | 0x80, fourth, last);
        let network = Self {
            name: format!("odoo-matrix-{id}"),
            database: address(1),
            homeserver: address(5),
            cable: format!("omd{id}"),
        };
        let name = &network.name;
        ip(&format!("netns add {name}"));
        for (cable, ours, theirs) in
            [(&network.cable, network.database, address(2)), (&format!("omh{id}"), network.homeserver, address(6))]
        {
            ip(&format!("link add {cable} type veth peer name {cable}p netns {name}"));
            ip(&format!("addr add {ours}/30 dev {cable}"));
            ip(&format!("link set {cable} up"));
            ip(&format!("-n {name} addr add {theirs}/30 dev {cable}p"));
            ip(&format!("-n {name} link set {cable}p up"));
        }
        network
    }

    /// Nothing passes between the worker and the database, and neither side notices.
    fn cut(&self) {
        ip(&format!("link set {} down", self.cable));
    }

    fn repair(&self) {
        ip(&format!("link set {} up", self.cable));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The cables go with it.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "ip {arguments}: {}; this test makes a network of its own, for which it must be root",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Carries what arrives at a free port of `address` to a port of the loopback interface.
async fn forward(address: Ipv4Addr, port: u16) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let at = listener.local_addr().unwrap().port();
    let mut forwarding = JoinSet::new();
    forwarding.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            connections.spawn(async move {
                if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (at, forwarding)
}
