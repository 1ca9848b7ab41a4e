//! `demo`: the whole path on the screen.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stack::office::{ADMIN_PASSWORD, Office};
use stack::postgres::{Options, Postgres};
use stack::synapse::Event;
use stack::{progress, story};
use tokio::signal::unix::{SignalKind, signal};

use crate::setup;

const COLUMN: usize = 58;

/// Plays the story; with `exit` it ends there, else at Ctrl-C.
pub(crate) async fn run(exit: bool) -> Result<ExitCode> {
    let binary = worker_binary()?;
    setup::parts().await?;
    let postgres = Postgres::start(Options::default()).await?;
    progress::say(format!("PostgreSQL: {:?}", postgres.server()));
    let office = Office::open(&postgres, &binary).await?;
    let texts = story::play(&office).await?;
    let result = story::check(&office, &texts).await;
    let messages = match &result {
        Ok(messages) => messages.clone(),
        Err(_) => office.lawyer.messages(&office.room).await?,
    };
    show(&messages, &office.logs().await?);
    if let Err(error) = result {
        if exit {
            return Err(error);
        }
        println!("\nThe story did not come out as it should: {error:#}");
    }
    if exit {
        println!("\nAll {} messages arrived, in order, and Logs has one OK for each.", texts.len());
        return Ok(ExitCode::SUCCESS);
    }
    invite(&office);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => (),
    }
    progress::say("Stopping everything");
    drop(office);
    Ok(ExitCode::SUCCESS)
}

/// The worker that was built beside this program.
pub(crate) fn worker_binary() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let binary = own.parent().context("a program lies in a folder")?.join("odoo-matrix-worker");
    ensure!(binary.exists(), "{} is missing: run cargo build --workspace", binary.display());
    Ok(binary)
}

/// Prints the room beside Logs.
fn show(messages: &[Event], logs: &[Value]) {
    println!("\n{:COLUMN$}   ODOO, MATRIX → LOGS", "THE ROOM, AS THE LAWYER SEES IT");
    println!("{}   {}", "─".repeat(COLUMN), "─".repeat(COLUMN));
    let room: Vec<_> = messages.iter().map(|event| format!("{}\n{}", event.sender, event.body())).collect();
    let deliveries: Vec<_> = logs.iter().map(delivery).collect();
    for index in 0..room.len().max(deliveries.len()) {
        let left = wrap(room.get(index).map_or("", String::as_str));
        let right = wrap(deliveries.get(index).map_or("", String::as_str));
        for line in 0..left.len().max(right.len()) {
            let of = |side: &[String]| side.get(line).cloned().unwrap_or_default();
            println!("{:COLUMN$}   {}", of(&left), of(&right));
        }
        println!();
    }
}

fn delivery(row: &Value) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let status = text("status").to_uppercase();
    let outcome =
        if status == "OK" { text("matrix_event_id") } else { text("error_code") + " " + &text("error_message") };
    format!("{} {status} {} (attempts: {})\n{outcome}", text("date"), text("event_type"), row["attempts"])
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let characters: Vec<char> = line.chars().collect();
        lines.extend(characters.chunks(COLUMN).map(|chunk| chunk.iter().collect()));
    }
    lines
}

fn invite(office: &Office) {
    println!("\nEverything stays up until you press Ctrl-C. Have a look around:\n");
    println!("  Odoo     {}", office.server.url());
    println!("           user admin, password {ADMIN_PASSWORD}; see Matrix → Logs and the app Legal Cases");
    println!("  Matrix   {}", office.synapse.url());
    println!(
        "           user {}, password {:?}; for example in Element Web",
        office.lawyer.id(),
        office.matrix_password
    );
    println!("           (https://app.element.io, Sign in, Edit homeserver: the address above), room Cases");
    println!("  Database {}", office.site.database().url());
    println!("  Worker   log in {}\n", office.worker.process().log().display());
}
