//! `history`: what happened to a message, to a room, to a record.

use std::{num::ParseIntError, time::Duration};

use clap::Args;
use serde::Serialize;
use thiserror::Error;

use super::{
    CliError, json, open, print,
    table::{Align, Table},
};
use crate::{
    config::Config,
    duration::words,
    message::{RoomId, UserId},
    store::{Asked, Found, Happened},
    terminal::Progress,
};

#[derive(Debug, Args)]
pub(super) struct Question {
    /// The message with this number, as `lanes` and Odoo show it.
    message: Option<i64>,
    /// Messages for this room, as !abc:example.org.
    #[arg(long, value_name = "ID", value_parser = RoomId::parse)]
    room: Option<RoomId>,
    /// Direct messages to this person, as @ann:example.org.
    #[arg(long, value_name = "USER", value_parser = UserId::parse)]
    person: Option<UserId>,
    /// Messages of this record of Odoo, as legal.case,42.
    #[arg(long, value_name = "MODEL,ID", value_parser = record)]
    record: Option<(String, i32)>,
    /// Not older than this: 30m, 12h, 7d.
    #[arg(long, value_name = "TIME", value_parser = length_of_time)]
    since: Option<Duration>,
    /// Only failures: those for good, and those that will be tried again.
    #[arg(long)]
    failed: bool,
    /// Show at most this many lines.
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// For a program: one JSON object. Times are UTC.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    events: Vec<Happened>,
    /// Not all of them are shown.
    is_cut: bool,
    /// The log goes back further than this (UTC) and was not searched further.
    searched_back_to: Option<String>,
}

pub(super) async fn history(config: &Config, question: Question) -> Result<(), CliError> {
    let store = open(config)?;
    store.check_contract().await?;
    let asked = Asked {
        message: question.message,
        room: question.room,
        person: question.person,
        record: question.record,
        since: question.since.map(|time| time.as_secs_f64()),
        only_failures: question.failed,
        most: i64::from(question.limit) + 1,
    };
    let progress = Progress::new(!question.json);
    let walked = |rows, back_to: &str| progress.show(&format!("{rows} lines of the log read, back to {back_to} UTC"));
    let Found { mut events, searched_back_to } = store.history(&asked, walked).await?;
    drop(progress);
    let is_cut = events.len() > usize::from(question.limit);
    events.truncate(question.limit.into());
    let report = Report { events, is_cut, searched_back_to };
    print(&if question.json { json(&report)? } else { text(&report) });
    Ok(())
}

fn text(report: &Report) -> String {
    let more = match (&report.searched_back_to, report.is_cut) {
        (Some(at), _) => format!("Searched back to {at} UTC. --since 90d, for example, searches further.\n"),
        (None, true) => "There is more: see --since and --limit.\n".to_owned(),
        (None, false) => String::new(),
    };
    if report.events.is_empty() {
        let none = "Nothing found: no such message waits, and the log has none";
        return if more.is_empty() {
            format!("{none} (Odoo removes its old lines).")
        } else {
            format!("{none}. {more}")
        };
    }
    let mut table = Table::new(&[
        ("WHEN (UTC)", Align::Left),
        ("MESSAGE", Align::Right),
        ("STATE", Align::Left),
        ("KIND", Align::Left),
        ("TO", Align::Left),
        ("RECORD", Align::Left),
        ("TRIES", Align::Right),
        ("TOOK", Align::Right),
        ("WORKER", Align::Left),
    ]);
    for event in &report.events {
        table.row(cells(event), note(event));
    }
    format!("{table}{more}")
}

fn cells(event: &Happened) -> Vec<String> {
    let record = event.res_model.as_ref().zip(event.res_id).map(|(model, id)| format!("{model},{id}"));
    let took = event.queued_seconds.filter(|_| event.state != "waiting");
    vec![
        event.at.clone(),
        event.message.map(|id| id.to_string()).unwrap_or_default(),
        event.state.clone(),
        event.event_type.clone().unwrap_or_default(),
        event.room_id.clone().or_else(|| event.matrix_user_id.clone()).unwrap_or_default(),
        record.unwrap_or_default(),
        event.attempts.to_string(),
        took.map(|seconds| words(Duration::from_secs_f64(seconds.max(0.0)))).unwrap_or_default(),
        event.worker.clone().unwrap_or_default(),
    ]
}

fn note(event: &Happened) -> Option<String> {
    let Some(message) = &event.error_message else {
        return event.matrix_event_id.as_ref().map(|id| format!("event {id}"));
    };
    Some(match &event.error_code {
        Some(code) => format!("{code}: {message}"),
        None => message.clone(),
    })
}

/// An argument that cannot be read. The parser of the command line names it.
#[derive(Debug, Error)]
enum BadArgument {
    #[error("write it as legal.case,42")]
    Record,
    #[error("the part after the comma is not a number; write it as legal.case,42")]
    RecordId(#[source] ParseIntError),
    #[error("write a number and s, m, h or d, for example 12h")]
    Time,
}

fn record(text: &str) -> Result<(String, i32), BadArgument> {
    let (model, id) = text.split_once(',').ok_or(BadArgument::Record)?;
    Ok((model.trim().to_owned(), id.trim().parse().map_err(BadArgument::RecordId)?))
}

fn length_of_time(text: &str) -> Result<Duration, BadArgument> {
    let unit = text.chars().last().ok_or(BadArgument::Time)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(BadArgument::Time),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| BadArgument::Time)?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_a_number_and_a_unit() {
        assert_eq!(length_of_time("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(length_of_time("7d").unwrap(), Duration::from_secs(7 * 86_400));
        for bad in ["", "12", "h", "-1h", "1 week", "1é"] {
            assert!(length_of_time(bad).unwrap_err().to_string().contains("12h"), "{bad}");
        }
    }

    #[test]
    fn a_record_is_a_model_and_a_number() {
        assert_eq!(record("legal.case,42").unwrap(), ("legal.case".to_owned(), 42));
        assert!(record("legal.case").is_err() && record("legal.case,x").is_err());
    }
}
