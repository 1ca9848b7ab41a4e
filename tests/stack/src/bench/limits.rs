//! What this machine can do at most: HTTP without a database, and a database without HTTP.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio_postgres::{Client, types::ToSql};

/// Requests per second of a loop that does nothing else, with the client that the worker has.
pub(crate) async fn bare(url: &str, concurrency: usize, seconds: f64) -> Result<f64> {
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).timeout(Duration::from_secs(10)).build()?;
    let count = Arc::new(AtomicU64::new(0));
    let (began, until) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut loops = JoinSet::new();
    for room in 0..concurrency {
        let (client, count) = (client.clone(), count.clone());
        let url = format!("{url}/_matrix/client/v3/rooms/!room{room}:bench.invalid/send/m.room.message/bare");
        loops.spawn(async move {
            while began.elapsed() < until {
                let request = client.put(&url).bearer_auth("bench").header("Content-Type", "application/json");
                request.body(r#"{"body":"Message","msgtype":"m.text"}"#).send().await?.bytes().await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, reqwest::Error>(())
        });
    }
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

/// [`bare`] in a process of its own, as the worker has one.
pub(crate) async fn bare_process(url: &str, concurrency: usize, seconds: f64) -> Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--bare", url, &concurrency.to_string(), &seconds.to_string()]);
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
    String::from_utf8(output.stdout)?.trim().parse().context("the bare loop ended without a figure")
}

/// Rows per second and times of claims in ms, of connections that claim and complete what waits, without sending it.
pub(crate) async fn database(clients: Vec<Client>, seconds: f64) -> Result<(f64, Vec<f64>)> {
    let mut loops = JoinSet::new();
    let began = Instant::now();
    for (number, client) in clients.into_iter().enumerate() {
        loops.spawn(async move { claim_and_complete(&client, &format!("bench/{number}"), began, seconds).await });
    }
    let (mut rows, mut claims) = (0, Vec::new());
    while let Some(ended) = loops.join_next().await {
        let (of_one, times) = ended??;
        rows += of_one;
        claims.extend(times);
    }
    claims.sort_unstable_by(f64::total_cmp);
    Ok((rows as f64 / began.elapsed().as_secs_f64(), claims))
}

const RING: &str = include_str!("../../../../sql/ring.sql");
const CLAIM: &str = include_str!("../../../../sql/claim.sql");
const MESSAGES: &str = include_str!("../../../../sql/messages.sql");
const COMPLETE: &str = include_str!("../../../../sql/complete.sql");

/// The number of parameters of a statement, so that a list of another length does not compile.
const fn parameters(sql: &str) -> usize {
    let (bytes, mut at, mut highest) = (sql.as_bytes(), 0, 0);
    while at < bytes.len() {
        let mut number = 0;
        if bytes[at] == b'$' {
            while at + 1 < bytes.len() && bytes[at + 1].is_ascii_digit() {
                number = number * 10 + (bytes[at + 1] - b'0') as usize;
                at += 1;
            }
        }
        if number > highest {
            highest = number;
        }
        at += 1;
    }
    highest
}

/// The worker's own statements, in its order, for 64 lanes with 32 messages at most.
async fn claim_and_complete(client: &Client, owner: &str, began: Instant, seconds: f64) -> Result<(usize, Vec<f64>)> {
    let ring = client.prepare(RING).await?;
    let claim = client.prepare(CLAIM).await?;
    let messages = client.prepare(MESSAGES).await?;
    let complete = client.prepare(COMPLETE).await?;
    let (mut rows, mut times, mut after) = (0, Vec::new(), None);
    while began.elapsed().as_secs_f64() < seconds {
        let asked = Instant::now();
        let cursor: (Vec<i32>, Vec<String>) = after.take().map_or_else(Default::default, |lane| (vec![1], vec![lane]));
        let more = vec![0; cursor.0.len()];
        let walk: [&(dyn ToSql + Sync); parameters(RING)] = [&cursor.0, &cursor.1, &64, &2000, &owner, &more];
        let walked = client.query(&ring, &walk).await?;
        let lanes: Vec<String> = walked.iter().filter_map(|row| row.get("lane")).collect();
        let is_end = walked.iter().find_map(|row| row.get::<_, Option<bool>>("is_end")).unwrap_or(true);
        if !is_end {
            after = walked.iter().find_map(|row| row.get::<_, Option<String>>("passed_until"));
        }
        let lease: [&(dyn ToSql + Sync); parameters(CLAIM)] = [&owner, &lanes, &64, &30_000, &1, &false];
        let leased = client.query(&claim, &lease).await?;
        let limits: [&(dyn ToSql + Sync); parameters(MESSAGES)] = [&owner, &lanes, &32, &82_800_000_i64, &131_072];
        let read = client.query(&messages, &limits).await?;
        times.push(asked.elapsed().as_secs_f64() * 1000.0);
        let epochs: Vec<i64> = leased.iter().map(|row| row.get("epoch")).collect();
        let lanes: Vec<&str> = leased.iter().map(|row| row.get("lane")).collect();
        let of_lane: std::collections::HashMap<_, _> = lanes.iter().copied().zip(epochs.iter().copied()).collect();
        let count = read.len();
        let result_lanes: Vec<&str> = read.iter().map(|row| row.get("lane")).collect();
        let result_epochs: Vec<i64> = result_lanes.iter().map(|lane| of_lane.get(lane).copied().unwrap_or(0)).collect();
        let ids: Vec<i64> = read.iter().map(|row| row.get("id")).collect();
        let none = vec![None::<i64>; lanes.len()];
        let no_text = vec![None::<String>; lanes.len()];
        let completion: [&(dyn ToSql + Sync); parameters(COMPLETE)] = [
            &owner,
            &"bench",
            &lanes,
            &epochs,
            &vec![true; lanes.len()],
            &none,
            &none,
            &vec![None::<i32>; lanes.len()],
            &no_text,
            &no_text,
            &ids,
            &result_lanes,
            &result_epochs,
            &vec!["ok"; count],
            &vec![true; count],
            &vec![None::<String>; count],
            &vec![None::<String>; count],
            &vec![1; count],
            &vec![1; count],
            &vec!["$event"; count],
            &vec![None::<String>; count],
            &vec![0_i64; count],
            &vec![false; lanes.len()],
        ];
        client.query(&complete, &completion).await?;
        rows += count;
    }
    Ok((rows, times))
}
