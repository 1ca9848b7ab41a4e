//! A day in the office: a case is opened, moves on, gets a hearing, and somebody writes to the room by hand.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::odoo::Client;
use crate::office::Office;
use crate::progress;
use crate::synapse::Event;

const ARRIVES_WITHIN: Duration = Duration::from_secs(90);
const MANUAL: &str = "Please bring the signed power of attorney.\nThe original, not a copy.";

/// Plays the story through Odoo's API; gives back the four texts that the room must show, in order.
pub async fn play(office: &Office) -> Result<[String; 4]> {
    let admin = &office.admin;
    progress::say("Story: a case is opened");
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await?;

    progress::say("Story: it moves to the next stage");
    let stages = admin.search_read("legal.case.stage", json!([]), &["name"], "sequence, id").await?;
    let stage = stages.get(1).context("there are two stages at least")?;
    admin.write("legal.case", case, json!({"stage_id": stage["id"]})).await?;

    progress::say("Story: a hearing is fixed");
    let hearing = json!({
        "case_id": case,
        "name": "First hearing",
        "date_start": "2031-03-04 09:30:00",
        "location": "Court 3, Room 12",
    });
    admin.create("legal.hearing", hearing).await?;

    progress::say("Story: somebody writes to the room");
    admin.write("legal.case", case, json!({"matrix_message": MANUAL})).await?;
    admin.press("legal.case", case, "action_matrix_send_message").await?;

    let stage = stage["name"].as_str().unwrap_or_default();
    Ok([
        "Case Doe against Acme created for Jane Doe".to_owned(),
        format!("Case Doe against Acme moved to {stage}"),
        "Hearing First hearing on ".to_owned(),
        MANUAL.to_owned(),
    ])
}

/// Waits until `room` shows `count` messages to the lawyer; gives back what it shows in the end, oldest first.
pub async fn arrived(office: &Office, room: &str, count: usize, within: Duration) -> Result<Vec<Event>> {
    let deadline = Instant::now() + within;
    let (_, mut since) = office.lawyer.sync(room, "").await?;
    loop {
        let messages = office.lawyer.messages(room).await?;
        if messages.len() >= count || Instant::now() > deadline {
            return Ok(messages);
        }
        // Comes back when something happens.
        (_, since) = office.lawyer.sync(room, &since).await?;
    }
}

/// Waits for the story's texts; an error says what the room or Logs lacks.
pub async fn check(office: &Office, texts: &[String; 4]) -> Result<Vec<Event>> {
    let messages = arrived(office, &office.room, texts.len(), ARRIVES_WITHIN).await?;
    let fits =
        |(event, text): (&Event, &String)| event.body().starts_with(text.as_str()) && event.sender == office.bot.id();
    if messages.len() != texts.len() || !messages.iter().zip(texts).all(fits) {
        let seen: Vec<_> = messages.iter().map(Event::body).collect();
        bail!("the room should show {texts:?} and shows {seen:?}\n{}", office.worker.process().tail());
    }
    let logs = logged(office, texts.len(), ARRIVES_WITHIN).await?;
    let delivered: Vec<_> =
        logs.iter().filter(|row| row["status"] == "ok").map(|row| &row["matrix_event_id"]).collect();
    let sent: Vec<_> = messages.iter().map(|event| event.event_id.as_str()).collect();
    if delivered.len() != logs.len() || delivered != sent {
        bail!("Logs should show {sent:?} and shows {logs:?}\n{}", office.worker.process().tail());
    }
    Ok(messages)
}

/// The notes of a case, once there are `count` of them or time is over; oldest first.
pub async fn notes(admin: &Client, case: i64, count: usize, within: Duration) -> Result<Vec<Value>> {
    let deadline = Instant::now() + within;
    let domain = json!([
        ["model", "=", "legal.case"],
        ["res_id", "=", case],
        ["message_type", "=", "comment"],
        ["subtype_id.internal", "=", true],
    ]);
    loop {
        let fields = ["body", "author_id", "parent_id"];
        match admin.search_read("mail.message", domain.clone(), &fields, "id").await {
            Ok(found) if found.len() >= count || Instant::now() > deadline => return Ok(found),
            Err(error) if Instant::now() > deadline => return Err(error),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Waits until Logs has `count` rows; gives back what it has in the end, oldest first. A row is written after the
/// homeserver's answer, so it may come a moment after the message.
pub async fn logged(office: &Office, count: usize, within: Duration) -> Result<Vec<Value>> {
    let deadline = Instant::now() + within;
    loop {
        let logs = office.logs().await?;
        if logs.len() >= count || Instant::now() > deadline {
            return Ok(logs);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
