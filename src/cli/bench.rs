//! `bench`: what this database and this machine can deliver, without Odoo's tables and without a real homeserver.

mod homeserver;

use std::time::{Duration, Instant};

use clap::Args;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use tokio::time::sleep;

use self::homeserver::Homeserver;
use super::{
    CliError,
    deliver::{deliver, open},
    json, print,
};
use crate::{config::Config, health::Health, runner::Until, shutdown, store::Scratch};

/// Messages that are queued one by one, each for a worker that has nothing else to do.
const SINGLE: usize = 50;

/// As somebody who works. A busy loop would measure the queue.
const BETWEEN_SINGLES: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, Args)]
pub(super) struct Bench {
    /// So many messages wait when the worker begins.
    #[arg(long, default_value_t = 10_000, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    messages: i32,
    /// They are for so many rooms, in turns.
    #[arg(long, default_value_t = 200, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    rooms: i32,
    /// The homeserver takes so long for each answer, in milliseconds.
    #[arg(long, default_value_t = 20, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=5_000))]
    answer_ms: u64,
    /// For a program: one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    messages: i32,
    rooms: i32,
    concurrency: usize,
    answer_ms: u64,
    backlog_seconds: f64,
    messages_per_second: f64,
    commit_to_request_ms: Latency,
}

#[derive(Serialize)]
struct Latency {
    median: f64,
    p95: f64,
}

pub(super) async fn bench(config: &Config, bench: &Bench) -> Result<(), CliError> {
    let failed =
        |error: std::io::Error| CliError::Failed(format!("no homeserver can be started for the measurement: {error}"));
    let mut homeserver = Homeserver::start(Duration::from_millis(bench.answer_ms)).await.map_err(failed)?;
    let scratch = Scratch::make(config.database_url.expose_secret(), &homeserver.url).await?;
    let config = Config {
        database_url: scratch.url(),
        // Workers that run beside it keep their names.
        worker_name: format!("bench-{}", std::process::id()),
        metrics_listen: None,
        ..config.clone()
    };
    // A signal ends the measurement, and what it has made goes all the same.
    let measured = tokio::select! {
        measured = measure(&config, bench, &scratch, &mut homeserver) => measured,
        _ = tokio::signal::ctrl_c() => Err(CliError::Failed("interrupted; nothing was measured".to_owned())),
    };
    scratch.remove().await?;
    let report = measured?;
    print(&if bench.json { json(&report)? } else { text(&report) });
    Ok(())
}

async fn measure(
    config: &Config,
    bench: &Bench,
    scratch: &Scratch,
    homeserver: &mut Homeserver,
) -> Result<Report, CliError> {
    scratch.enqueue(bench.messages, bench.rooms).await?;
    let began = Instant::now();
    let (_running, shutdown) = shutdown::channel();
    deliver(config, open(config)?, shutdown, Health::default(), Until::Drained).await;
    let took = began.elapsed().as_secs_f64();
    let delivered = scratch.delivered().await?;
    if delivered != i64::from(bench.messages) {
        return Err(CliError::Failed(format!("{delivered} of {} messages were delivered", bench.messages)));
    }
    while homeserver.arrivals.try_recv().is_ok() {}
    Ok(Report {
        messages: bench.messages,
        rooms: bench.rooms,
        concurrency: config.concurrency,
        answer_ms: bench.answer_ms,
        backlog_seconds: took,
        messages_per_second: f64::from(bench.messages) / took,
        commit_to_request_ms: single(config, scratch, homeserver).await?,
    })
}

/// From the COMMIT of one message to its request, with a worker that waits for it.
async fn single(config: &Config, scratch: &Scratch, homeserver: &mut Homeserver) -> Result<Latency, CliError> {
    let (trigger, shutdown) = shutdown::channel();
    let measuring = async {
        let took = times(scratch, homeserver).await;
        trigger.drain();
        took
    };
    let worker = deliver(config, open(config)?, shutdown, Health::default(), Until::Stopped);
    let (_, took) = tokio::join!(worker, measuring);
    let mut took = took?;
    took.sort_unstable_by(f64::total_cmp);
    Ok(Latency { median: took[SINGLE / 2], p95: took[SINGLE * 95 / 100] })
}

/// In milliseconds.
async fn times(scratch: &Scratch, homeserver: &mut Homeserver) -> Result<Vec<f64>, CliError> {
    let mut took = Vec::with_capacity(SINGLE);
    // The first one finds connections that are still to be made.
    for _ in 0..=SINGLE {
        sleep(BETWEEN_SINGLES).await;
        scratch.enqueue(1, 1).await?;
        let committed = Instant::now();
        let arrived = homeserver.arrivals.recv().await.unwrap_or(committed);
        took.push(arrived.saturating_duration_since(committed).as_secs_f64() * 1000.0);
    }
    Ok(took.split_off(1))
}

fn text(report: &Report) -> String {
    let Report { messages, rooms, concurrency, answer_ms, .. } = report;
    let Latency { median, p95 } = report.commit_to_request_ms;
    format!(
        "A backlog:   {:.0} messages/s ({messages} for {rooms} rooms in {:.1} s; {concurrency} at once, answered after {answer_ms} ms)\n\
         One message: {median:.1} ms from COMMIT to the request (median of {SINGLE}), 95 % within {p95:.1} ms",
        report.messages_per_second, report.backlog_seconds
    )
}
