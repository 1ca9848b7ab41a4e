//! The steps. Each checks one promise.

use std::{
    collections::HashSet,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use stack::{postgres::Shutdown, world::World};

use crate::office::{Office, UNIT};

type Step = for<'a> fn(&'a mut Office) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// In order: each leaves the service running for the next one.
pub(crate) const ALL: [(&str, Step); 16] = [
    ("a package installs and starts nothing", |office| Box::pin(installs(office))),
    ("the unit has no error and is exposed to no more than 1.5", |office| Box::pin(unit(office))),
    ("without its settings the service says what to do and is not started again", |office| Box::pin(unset(office))),
    ("three commands make it active", |office| Box::pin(set_up(office))),
    ("it delivers a message with the token that its key opens", |office| Box::pin(delivers(office))),
    ("check is green as root and refused to others", |office| Box::pin(checks(office))),
    ("a misspelt variable ends it with one line and no restart", |office| Box::pin(misspelt(office))),
    ("it comes back after kill -9", |office| Box::pin(killed(office))),
    ("the watchdog restarts it after kill -STOP", |office| Box::pin(stopped(office))),
    ("it goes on after a restart of PostgreSQL", |office| Box::pin(database_restarts(office))),
    ("it comes back at a reboot, also before PostgreSQL", |office| Box::pin(reboots(office))),
    ("it stops in order under load", |office| Box::pin(stops_under_load(office))),
    ("an upgrade under load loses nothing", |office| Box::pin(upgrades(office))),
    ("two instances deliver for two databases", |office| Box::pin(two_instances(office))),
    ("log lines have the journal's priorities and no secret", |office| Box::pin(journal(office))),
    ("a purge leaves no trace", |office| Box::pin(purges(office))),
];

/// Every file of the system except those that a running system writes by itself, and the lists of users.
const FILES: &str = "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /root -o -path /var/log \
    -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /var/cache -o -path /var/tmp -o -path /dev \\) -prune -o -print \
    | grep -v -e '^/etc/.*-$' -e '^/etc/.pwd.lock$' | sort; getent passwd; getent group";

async fn installs(office: &mut Office) -> Result<()> {
    office.files_before = office.machine.run(FILES).await?;
    // The previous version, so that there is something to upgrade.
    office.install(&office.previous.clone()).await?;
    let units = office.machine.run("systemctl list-units --all --no-legend 'odoo-matrix-worker@*'").await?;
    ensure!(units.is_empty(), "something runs: {units}");
    office.machine.run("getent passwd odoo-matrix && odoo-matrix-worker --version").await?;
    office.machine.run("zcat /usr/share/man/man1/odoo-matrix-worker.1.gz | grep -q METRICS_LISTEN").await?;
    office.machine.run("bash -n /usr/share/bash-completion/completions/odoo-matrix-worker").await.map(drop)
}

async fn unit(office: &mut Office) -> Result<()> {
    // The manual page cannot be shown here: this small system has no program for that.
    let said = office.machine.run(&format!("systemd-analyze verify --man=no {UNIT}.service 2>&1")).await?;
    ensure!(said.is_empty(), "systemd-analyze verify: {said}");
    let said = office.machine.run(&format!("systemd-analyze security --no-pager {UNIT}.service")).await?;
    let level = said.lines().find_map(|line| line.split_once("exposure level for")?.1.split_once(": "));
    let level = level.and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok());
    ensure!(level.is_some_and(|level| level <= 1.5), "systemd-analyze security: {said}");
    office.figures.push(format!("exposure by systemd-analyze security: {}", level.unwrap_or_default()));
    Ok(())
}

async fn unset(office: &mut Office) -> Result<()> {
    office.fails_once("78", "configure NAME").await?;

    // A secret that even root cannot read, so systemd cannot either.
    let folder = "/etc/odoo-matrix/odoo";
    office.machine.run(&format!("mkdir -p {folder}; ln -s /proc/self/mem {folder}/database-url")).await?;
    office.fails_once("243", "243/CREDENTIALS").await?;
    office.machine.run(&format!("rm -r {folder}")).await.map(drop)
}

async fn set_up(office: &mut Office) -> Result<()> {
    office.set_up("odoo", &office.world, office.port).await?;
    let began = Instant::now();
    office.machine.run(&format!("systemctl enable --now {UNIT} 2>&1")).await?;
    ensure!(office.property("ActiveState").await? == "active", "it is not active");
    office.measured("from `systemctl enable --now` to active", began.elapsed());
    // Each command may be run again, and then changes nothing.
    office.set_up("odoo", &office.world, office.port).await?;
    office.machine.run(&format!("systemctl enable --now {UNIT} 2>&1")).await?;
    office.machine.until(&ready(office.port), Duration::from_secs(20)).await?;
    Ok(())
}

async fn delivers(office: &mut Office) -> Result<()> {
    let took = office.arrives(Instant::now()).await;
    office.measured("a message from COMMIT to the homeserver's room, and its log row", took);
    let wanted = "Delivering: nothing waits";
    office
        .machine
        .until(&format!("systemctl show -P StatusText {UNIT} | grep -q '{wanted}'"), Duration::from_secs(60))
        .await?;
    Ok(())
}

async fn checks(office: &mut Office) -> Result<()> {
    let said = office.machine.run("odoo-matrix-worker check --instance odoo").await?;
    ensure!(!said.contains("PROBLEM") && !said.contains("warning"), "{said}");
    let refused =
        office.machine.try_run("setpriv --reuid nobody --clear-groups odoo-matrix-worker check -i odoo 2>&1").await?;
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    ensure!(refused.status.code() == Some(78) && said.contains("use sudo"), "{said}");
    Ok(())
}

async fn misspelt(office: &mut Office) -> Result<()> {
    office.set("odoo", "WORKER_CONCURENCY=8").await?;
    office.fails_once("78", "did you mean WORKER_CONCURRENCY?").await?;
    office.machine.run("sed -i /CONCURENCY/d /etc/odoo-matrix/odoo/worker.env").await?;
    office.machine.run(&format!("systemctl start {UNIT}")).await.map(drop)
}

async fn killed(office: &mut Office) -> Result<()> {
    // Messages are in flight while the worker dies.
    office.world.homeserver.delay(Duration::from_millis(200));
    office.enqueue(20, "while it dies", 5).await;
    office.world.homeserver.until("a message in flight", |double| double.in_flight() > 0).await;
    let began = Instant::now();
    office.machine.run(&format!("systemctl kill -s KILL {UNIT}")).await?;
    office.world.homeserver.delay(Duration::ZERO);
    let took = office.arrives(began).await;
    office.measured("from kill -9 with 100 messages waiting to the last of them and a new one delivered", took);
    Ok(())
}

/// The unit's watchdog waits for a minute; the test uses a shorter time.
async fn stopped(office: &mut Office) -> Result<()> {
    let folder = format!("/run/systemd/system/{UNIT}.service.d");
    office
        .machine
        .run(&format!("mkdir -p {folder}; printf '[Service]\\nWatchdogSec=6\\n' > {folder}/test.conf"))
        .await?;
    office.machine.run(&format!("systemctl daemon-reload; systemctl restart {UNIT}")).await?;
    let before = office.property("MainPID").await?;
    let began = Instant::now();
    office.machine.run(&format!("kill -STOP {before}")).await?;
    let took = office.arrives(began).await;
    ensure!(office.property("MainPID").await? != before, "it is still the same process");
    ensure!(office.property("NRestarts").await? == "1", "restarts: {}", office.property("NRestarts").await?);
    office.measured("from kill -STOP to the next message delivered, with WatchdogSec=6 (60 in the package)", took);
    office.machine.run(&format!("rm -r {folder}; systemctl daemon-reload; systemctl restart {UNIT}")).await.map(drop)
}

async fn database_restarts(office: &mut Office) -> Result<()> {
    let before = office.property("MainPID").await?;
    office.postgres.stop(Shutdown::Fast).await?;
    office
        .machine
        .until(&format!("systemctl show -P StatusText {UNIT} | grep -q 'not available'"), Duration::from_secs(60))
        .await?;
    office.machine.until(&format!("! {}", ready(office.port)), Duration::from_secs(60)).await?;
    office.postgres.start_again().await?;
    let began = Instant::now();
    office.world.client = office.world.database.connect().await?;
    let took = office.arrives(began).await;
    ensure!(office.property("MainPID").await? == before, "it was restarted");
    office.measured("from PostgreSQL's return to the next message delivered", took);
    Ok(())
}

async fn reboots(office: &mut Office) -> Result<()> {
    office.machine.run(&format!("systemctl stop {UNIT}")).await?;
    office.enqueue(3, "before the reboot", 2).await;
    let began = Instant::now();
    office.machine.reboot().await?;
    let took = office.arrives(began).await;
    office.measured("from a reboot of the container to what waited delivered", took);

    office.postgres.stop(Shutdown::Fast).await?;
    office.machine.reboot().await?;
    ensure!(office.property("ActiveState").await? == "active", "it is not active without its database");
    let waits = format!("systemctl show -P StatusText {UNIT} | grep -q 'Waiting: the database is not available'");
    office.machine.until(&waits, Duration::from_secs(30)).await?;
    office.postgres.start_again().await?;
    let began = Instant::now();
    office.world.client = office.world.database.connect().await?;
    let took = office.arrives(began).await;
    ensure!(office.property("NRestarts").await? == "0", "it was restarted");
    office.measured("booted before PostgreSQL: from its start to the next message delivered", took);
    Ok(())
}

async fn stops_under_load(office: &mut Office) -> Result<()> {
    office.world.homeserver.delay(Duration::from_millis(20));
    office.enqueue(50, "under load", 40).await;
    let arrived = office.world.homeserver.count() + 100;
    office.world.homeserver.until_events(arrived).await;
    let began = Instant::now();
    office.machine.run(&format!("systemctl stop {UNIT}")).await?;
    office.measured("`systemctl stop` under load", began.elapsed());
    ensure!(office.property("Result").await? == "success", "it failed: {}", office.property("Result").await?);
    let left: i64 = office.world.client.query_one("SELECT count(*) FROM matrix_outbox", &[]).await?.get(0);
    ensure!(left > 0, "it was stopped too late to show anything");
    let held = "SELECT count(*) FROM matrix_lane WHERE lease_until IS NOT NULL";
    let held: i64 = office.world.client.query_one(held, &[]).await?.get(0);
    ensure!(held == 0, "{held} lanes are held by a worker that has ended");
    office.machine.run(&format!("systemctl start {UNIT}")).await?;
    office.settled().await;
    Ok(())
}

async fn upgrades(office: &mut Office) -> Result<()> {
    office.world.homeserver.delay(Duration::from_millis(20));
    office.enqueue(50, "during the upgrade", 40).await;
    let before = office.property("MainPID").await?;
    let began = Instant::now();
    office.install(&office.package.clone()).await?;
    office.measured("an upgrade of the package under load", began.elapsed());
    ensure!(office.property("MainPID").await? != before, "the old program goes on");
    ensure!(office.property("ActiveState").await? == "active", "it is not active after the upgrade");
    office.world.homeserver.delay(Duration::ZERO);
    office.settled().await;
    let rooms: Vec<_> = (0..50).map(|n| format!("!{n}:double.test")).collect();
    for room in &rooms {
        let bodies = office.world.homeserver.bodies(room);
        let numbers: Vec<i32> =
            bodies.iter().filter_map(|body| body.strip_prefix("during the upgrade ")?.parse().ok()).collect();
        ensure!(numbers == (1..=40).collect::<Vec<_>>(), "{room} reads {numbers:?}");
    }
    Ok(())
}

async fn two_instances(office: &mut Office) -> Result<()> {
    let world = World::on(&office.postgres, &office.binary).await;
    let port = stack::free_port()?;
    office.set_up("second", &world, port).await?;
    office.machine.run("systemctl enable --now odoo-matrix-worker@second 2>&1").await?;
    let ids = world.enqueue_many(&["!a:double.test"], "second", 3).await;
    world.assert_settled(&ids).await;
    office.arrives(Instant::now()).await;
    for port in [office.port, port] {
        office.machine.until(&ready(port), Duration::from_secs(20)).await?;
    }
    // A port that is in use is reported once, and not tried for ever.
    office.set("second", &format!("METRICS_LISTEN=127.0.0.1:{}", office.port)).await?;
    office.machine.try_run("systemctl restart odoo-matrix-worker@second").await?;
    office.machine.until("systemctl is-failed --quiet odoo-matrix-worker@second", Duration::from_secs(20)).await?;
    let said = office.machine.run("journalctl -u odoo-matrix-worker@second -n 20 --no-pager").await?;
    ensure!(said.contains("METRICS_LISTEN=") && said.contains("a free port"), "{said}");
    Ok(())
}

async fn journal(office: &mut Office) -> Result<()> {
    let all = office.machine.run("journalctl -u 'odoo-matrix-worker@*' -o cat --no-pager").await?;
    for secret in [stack::homeserver::TOKEN, "a password", "a%20password", "are you there"] {
        ensure!(!all.contains(secret), "the journal has «{secret}»");
    }
    let warnings = office.machine.run(&format!("journalctl -u {UNIT} -p warning -o cat --no-pager")).await?;
    ensure!(warnings.contains("Waiting for the database"), "no warning among: {warnings}");
    ensure!(!warnings.contains("Listening for new messages"), "information among the warnings: {warnings}");
    Ok(())
}

async fn purges(office: &mut Office) -> Result<()> {
    office.machine.run("dpkg --remove odoo-matrix-worker 2>&1").await?;
    let running =
        office.machine.try_run("systemctl list-units --no-legend --state=active 'odoo-matrix-worker@*'").await?;
    ensure!(running.stdout.is_empty(), "it still runs: {}", String::from_utf8_lossy(&running.stdout));
    office.machine.run("test -s /etc/odoo-matrix/odoo/database-url").await?;
    office.machine.run("dpkg --purge odoo-matrix-worker 2>&1").await?;
    let after = office.machine.run(FILES).await?;
    let (before, after): (HashSet<_>, HashSet<_>) = (office.files_before.lines().collect(), after.lines().collect());
    let left: Vec<_> = after.difference(&before).collect();
    let gone: Vec<_> = before.difference(&after).collect();
    ensure!(left.is_empty() && gone.is_empty(), "left: {left:?}; gone: {gone:?}");
    Ok(())
}

/// Whether the worker says that it is ready. The container's only HTTP client is bash.
fn ready(port: u16) -> String {
    let ask = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} && printf \"GET /readyz HTTP/1.0\\r\\n\\r\\n\" >&3 && head -1 <&3 | grep -q 200"
    );
    format!("bash -c '{ask}'")
}
