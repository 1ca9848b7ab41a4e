//! Odoo is away for an hour, which is a minute here: the homeserver's clock runs faster.

use std::time::{Duration, Instant};

use stack::{
    office::{Office, send_to_odoo},
    process::Signal,
};

use crate::common::{bodies, follow, notes, open_office, text};

const SPEED: u32 = 60;
const HOUR: Duration = Duration::from_secs(60 * 60 / SPEED as u64);

/// The homeserver asks after 512 s of its clock at most, the worker after a minute; Odoo takes its time to start.
const SOON: Duration = Duration::from_secs(180);

/// Synapse asks less and less often.
#[tokio::test]
#[ignore = "takes minutes: make soak"]
async fn what_the_homeserver_sends_comes_in_once_and_in_order_after_an_hour_without_odoo() {
    let (mut office, case) = open_office().await;
    let odoo = office.server.url().to_owned();
    send_to_odoo(&mut office.synapse, &office.admin, office.backend, &odoo).await.unwrap();

    lose_odoo_for_an_hour(office, case).await;
}

/// The worker reads nothing more until Odoo has what it read, and then finds a gap that it closes.
#[tokio::test]
#[ignore = "takes minutes: make soak"]
async fn what_the_worker_reads_comes_in_once_and_in_order_after_an_hour_without_odoo() {
    let (office, case) = open_office().await;
    follow(&office).await;

    lose_odoo_for_an_hour(office, case).await;
}

/// At the end of which the account is removed from the room.
async fn lose_odoo_for_an_hour(mut office: Office, case: i64) {
    let caretaker = office.synapse.register("caretaker", "let me in", true).await.unwrap();
    office.synapse.exempt(&caretaker, &office.lawyer).await.unwrap();
    office.synapse.restart_faster(SPEED).await.unwrap();
    let mut said = vec!["Before".to_owned()];
    office.lawyer.say(&office.room, &text("Before")).await.unwrap();
    let seen = notes(&office.admin, case, 1, SOON).await;
    assert_eq!(seen.len(), 1, "{}\n{}", office.worker.process().tail(), office.synapse.process().tail());

    office.server.process().stop(Signal::KILL).await.unwrap();
    let gone = Instant::now();
    while gone.elapsed() < HOUR {
        said.push(format!("Minute {:02}", said.len()));
        office.lawyer.say(&office.room, &text(said.last().unwrap())).await.unwrap();
        tokio::time::sleep(HOUR / 60).await;
    }
    let room = office.lawyer.messages(&office.room).await.unwrap();
    let sent_at = |text: &str| room.iter().find(|event| event.body() == text).unwrap().sent_at_ms;
    let minutes = (sent_at(said.last().unwrap()) - sent_at("Before")) / 60_000;
    assert!(minutes >= 55, "{minutes} minutes by the homeserver's clock");
    office.lawyer.kick(&office.room, &office.bot).await.unwrap();
    office.lawyer.say(&office.room, &text("Between us")).await.unwrap();
    office.server = office.site.serve_again(&office.server).await.unwrap();

    let seen = notes(&office.admin, case, said.len(), SOON).await;
    compare(&seen, &said);
    office.lawyer.invite(&office.room, &office.bot).await.unwrap();
    office.admin.press("legal.case", case, "action_matrix_check_room").await.unwrap();
    said.push("After".to_owned());
    office.lawyer.say(&office.room, &text("After")).await.unwrap();
    let seen = notes(&office.admin, case, said.len(), SOON).await;
    compare(&seen, &said);
}

fn compare(seen: &[serde_json::Value], said: &[String]) {
    let seen = bodies(seen);
    let are_right = seen.len() == said.len() && seen.iter().zip(said).all(|(body, text)| body.contains(text.as_str()));
    assert!(are_right, "{said:?}, and these notes: {seen:?}");
}
