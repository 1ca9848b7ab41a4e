//! What is measured, in which order, and against which goal.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};
use stack::usage::percentile;

use super::{
    Cli, limits,
    site::{Drain, Load, Site},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Drains,
    Database,
    Memory,
    Single,
    Pacing,
    Scaling,
    /// Takes a quarter of an hour, so it runs only when asked for.
    SlowLimit,
}

/// What a run has found.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) figures: Vec<Value>,
    pub(crate) scaling: Vec<Value>,
}

impl Report {
    fn add(&mut self, what: &str, goal: &str, measured: String, details: Value) {
        eprintln!("{what}: {measured} (goal: {goal})");
        self.figures.push(json!({ "what": what, "goal": goal, "measured": measured, "details": details }));
    }
}

/// Measures what was asked for.
pub(crate) async fn run(cli: &Cli) -> Result<Report> {
    let site = Site::start(cli.binary.clone()).await?;
    let bench = Bench { site, cli };
    let mut report = Report::default();
    let wanted = |part| cli.only.is_none_or(|only| only == part);
    if wanted(Part::Drains) {
        bench.drains(&mut report).await?;
    }
    if wanted(Part::Single) {
        bench.single(&mut report).await?;
    }
    if wanted(Part::Database) {
        bench.database(&mut report).await?;
    }
    if wanted(Part::Memory) {
        bench.memory(&mut report).await?;
    }
    if wanted(Part::Pacing) {
        bench.pacing(&mut report, 5.0, 20.0, bench.rows(250)).await?;
    }
    // What Synapse allows an account unless configured otherwise: after the burst, one message in five seconds.
    if cli.only == Some(Part::SlowLimit) {
        bench.pacing(&mut report, 0.2, 10.0, 90).await?;
    }
    if wanted(Part::Scaling) {
        bench.scaling(&mut report).await?;
    }
    Ok(report)
}

struct Bench<'a> {
    site: Site,
    cli: &'a Cli,
}

const ROUND_TRIP: Duration = Duration::from_millis(20);

impl Bench<'_> {
    fn rows(&self, rows: u32) -> u32 {
        if self.cli.small { (rows / 10).max(50) } else { rows }
    }

    /// Requests per second of a loop that does nothing else.
    async fn bare(&self, concurrency: usize, delay: Duration) -> Result<f64> {
        self.site.double.begin(delay, None);
        limits::bare_process(&self.site.double.url, concurrency, if self.cli.small { 1.0 } else { 3.0 }).await
    }

    /// The median of several drains by messages per second, and the limit that was measured between them.
    async fn against_bare(&self, load: &Load, in_flight: usize) -> Result<(Drain, f64)> {
        let mut drains = Vec::new();
        let mut limits = Vec::new();
        for _ in 0..self.cli.times {
            limits.push(self.bare(in_flight, load.delay).await?);
            drains.push(self.site.drain(load).await?);
        }
        drains.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        limits.sort_by(f64::total_cmp);
        Ok((drains.swap_remove(drains.len() / 2), limits[limits.len() / 2]))
    }

    async fn drains(&self, report: &mut Report) -> Result<()> {
        let mut costs = None;
        let mut small = 0.0;
        for rows in [10_000, 100_000] {
            let load = Load { rows: self.rows(rows), ..Load::default() };
            let (drain, bare) = self.against_bare(&load, 64).await?;
            let ratio = drain.per_second / bare;
            let goal =
                if rows == 10_000 { "≥ 0.60 × the bare loop" } else { "≥ 0.60 ×, and not slower than 10,000" };
            let beside =
                if rows == 10_000 { String::new() } else { format!("; {:.2} × 10,000", drain.per_second / small) };
            report.add(
                &format!("drain {} messages, 0 ms, 200 rooms, 64 at once", load.rows),
                goal,
                format!("{:.0}/s = {ratio:.3} × {bare:.0}/s{beside}", drain.per_second),
                details(&drain),
            );
            small = drain.per_second;
            costs = Some(drain);
        }
        let wide = Load { rows: self.rows(20_000), delay: ROUND_TRIP, concurrency: 256, ..Load::default() };
        let (drain, bare) = self.against_bare(&wide, 200).await?;
        report.add(
            &format!("drain {} messages, 20 ms, 200 rooms, 256 at once", wide.rows),
            "≥ 0.90 × rooms ÷ round trip",
            format!("{:.0}/s = {:.3} × {bare:.0}/s", drain.per_second, drain.per_second / bare),
            details(&drain),
        );
        for rooms in [5, 1] {
            let hot = Load { rows: self.rows(200 * rooms), rooms, delay: ROUND_TRIP, ..Load::default() };
            let (drain, bare) = self.against_bare(&hot, rooms as usize).await?;
            report.add(
                &format!("{rooms} hot rooms, 20 ms"),
                "≥ 0.95 × rooms ÷ round trip",
                format!("{:.1}/s = {:.3} × {bare:.1}/s", drain.per_second, drain.per_second / bare),
                details(&drain),
            );
        }
        if let Some(drain) = costs {
            report.add(
                "worker CPU per 1,000 messages",
                "≤ 0.1 s",
                format!("{:.3} s; PostgreSQL {:.3} s", drain.worker_cpu_per_1000, drain.postgres_cpu_per_1000),
                Value::Null,
            );
            report.add(
                "WAL per message of 100 B, insert to log",
                "≤ 1,200 B beyond the payload",
                format!("{:.0} B", drain.wal_per_message),
                Value::Null,
            );
            report.add(
                "statements per 1,000 messages",
                "few",
                format!("{:.0}", drain.statements_per_1000),
                Value::Null,
            );
            report.add("lost, doubled or out of order", "0", drain.faults.to_string(), Value::Null);
        }
        Ok(())
    }

    async fn single(&self, report: &mut Report) -> Result<()> {
        let (count, idle) = if self.cli.small { (40, 6) } else { (400, 60) };
        let pause = Duration::from_millis(50);
        let (times, cpu, idle_cpu, idle_calls) = self.site.single(count, pause, Duration::from_secs(idle)).await?;
        report.add(
            "commit → arrival at 20 events/s",
            "p50 ≤ 3 ms, p99 ≤ 10 ms",
            format!(
                "p50 {:.1}, p95 {:.1}, p99 {:.1} ms; worker CPU {cpu:.2} s per 1,000",
                percentile(&times, 50),
                percentile(&times, 95),
                percentile(&times, 99)
            ),
            Value::Null,
        );
        let goal = "< 0.2 % of a core, ≤ 20 statements a minute";
        report.add("idle", goal, format!("{idle_cpu:.2} %, {idle_calls:.0} statements a minute"), Value::Null);
        Ok(())
    }

    async fn database(&self, report: &mut Report) -> Result<()> {
        let load = Load { rows: self.rows(1_000_000), rooms: 10_000, hot_percent: 20, ..Load::default() };
        self.site.fill(&load).await?;
        self.site.client.batch_execute("VACUUM ANALYZE matrix_outbox").await?;
        let seconds = if self.cli.small { 2.0 } else { 10.0 };
        let (rows, claims) = limits::database(self.site.connections(2).await?, seconds).await?;
        report.add(
            &format!("claim + complete without HTTP, {} rows, 10,000 rooms, a fifth in one", load.rows),
            "≥ 20,000 rows/s, claim p99 ≤ 100 ms",
            format!(
                "{rows:.0} rows/s, claim p50 {:.1}, p99 {:.1} ms",
                percentile(&claims, 50),
                percentile(&claims, 99)
            ),
            Value::Null,
        );
        Ok(())
    }

    async fn memory(&self, report: &mut Report) -> Result<()> {
        let load = Load { rows: self.rows(1_000_000), rooms: 10_000, bytes: 1000, ..Load::default() };
        let peak = self.site.peak_while_draining(&load, Duration::from_secs(5)).await?;
        report.add(
            &format!("peak memory with {} messages of 1 KB waiting", load.rows),
            "≤ 25 MB",
            format!("{peak:.0} MB"),
            Value::Null,
        );
        let large = Load { rows: 64 * 32, rooms: 64, bytes: 58_000, ..Load::default() };
        let drain = self.site.drain(&large).await?;
        report.add(
            "peak memory, 64 rooms × 32 messages of 58 KB",
            "≤ 64 MB",
            format!("{:.0} MB, {:.0}/s", drain.peak_memory, drain.per_second),
            details(&drain),
        );
        Ok(())
    }

    async fn pacing(&self, report: &mut Report, rate: f64, burst: f64, rows: u32) -> Result<()> {
        for workers in [1, 3] {
            let load = Load { rows, rooms: 5, workers, limit: Some((rate, burst)), ..Load::default() };
            let drain = self.site.drain(&load).await?;
            let used = (f64::from(rows) - burst) / rate / drain.seconds;
            let refused = drain.refused as f64 / (f64::from(rows) + drain.refused as f64) * 100.0;
            report.add(
                &format!("limit of {rate}/s, burst {burst}, {workers} workers"),
                "≥ 0.95 × the limit, ≤ 5 % refused",
                format!("{used:.2} × the limit, {refused:.1} % refused"),
                details(&drain),
            );
        }
        Ok(())
    }

    /// One thing grows, all else stays.
    async fn scaling(&self, report: &mut Report) -> Result<()> {
        let base = Load { rows: self.rows(20_000), ..Load::default() };
        let mut loads = Vec::new();
        for workers in 1..=4 {
            loads.push(("workers", workers as f64, Load { workers, ..base.clone() }));
        }
        for rooms in [10, 100, 1000, 10_000] {
            loads.push(("rooms", f64::from(rooms), Load { rooms, ..base.clone() }));
        }
        for bytes in [100, 1000, 10_000, 50_000] {
            let rows = if bytes > 1000 { base.rows / 4 } else { base.rows };
            loads.push(("bytes", f64::from(bytes), Load { bytes, rows, ..base.clone() }));
        }
        for rows in [1000, 10_000, 100_000] {
            loads.push(("rows", f64::from(self.rows(rows)), Load { rows: self.rows(rows), ..base.clone() }));
        }
        // What autovacuum finds when little waits, all of it in a few rooms: the statements must not depend on it.
        self.site.fill(&Load { rows: 250, rooms: 5, ..base.clone() }).await?;
        self.site.client.batch_execute("ANALYZE").await?;
        let bare = self.bare(64, Duration::ZERO).await?;
        for (axis, at, load) in loads {
            let drain = self.site.drain(&load).await?;
            eprintln!("{axis} {at}: {:.0}/s", drain.per_second);
            report.scaling.push(json!({
                "axis": axis, "at": at, "per_second": drain.per_second, "of_bare": drain.per_second / bare,
                "peak_memory_mb": drain.peak_memory, "worker_cpu_per_1000": drain.worker_cpu_per_1000,
                "postgres_cpu_per_1000": drain.postgres_cpu_per_1000, "faults": drain.faults,
                "wal_per_message": drain.wal_per_message, "statements": statements(&drain),
            }));
        }
        // The last point of the rows: what a backlog of a million costs those who drain it.
        let million = Load { rows: self.rows(1_000_000), rooms: 10_000, ..base };
        self.site.fill(&million).await?;
        let per_second = self.site.rate_while_draining(&million, Duration::from_secs(8)).await?;
        eprintln!("rows {}: {per_second:.0}/s", million.rows);
        report.scaling.push(json!({
            "axis": "rows", "at": f64::from(million.rows), "per_second": per_second, "of_bare": per_second / bare, "faults": 0,
        }));
        Ok(())
    }
}

fn details(drain: &Drain) -> Value {
    json!({
        "seconds": drain.seconds, "per_second": drain.per_second, "worker_cpu_per_1000": drain.worker_cpu_per_1000,
        "postgres_cpu_per_1000": drain.postgres_cpu_per_1000, "statements_per_1000": drain.statements_per_1000,
        "wal_per_message": drain.wal_per_message, "peak_memory_mb": drain.peak_memory, "refused": drain.refused,
        "faults": drain.faults,
        "statements": statements(drain),
    })
}

/// The costliest statements: title, calls, milliseconds in all.
fn statements(drain: &Drain) -> Vec<Value> {
    drain.profile.iter().map(|(text, calls, ms)| json!([text, calls, ms])).collect()
}
