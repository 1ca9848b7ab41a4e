//! Odoo sends through the application service.

use std::time::{Duration, Instant};

use serde_json::json;
use stack::{
    office::{Office, send_to_odoo},
    process::Signal,
    relay::Relay,
    story,
};

use crate::common::open_office;

const SOON: Duration = Duration::from_secs(60);

async fn send(office: &Office, case: i64, body: &str) {
    office.admin.write("legal.case", case, json!({"matrix_message": body})).await.unwrap();
    office.admin.press("legal.case", case, "action_matrix_send_message").await.unwrap();
}

#[tokio::test]
async fn what_is_sent_through_the_application_service_is_not_limited_and_arrives_once() {
    let (mut office, case) = open_office().await;
    story::arrived(&office, &office.room, 1, SOON).await.unwrap();
    let relay = Relay::start(office.synapse.url()).await.unwrap();
    let url = json!({"homeserver_url": relay.url(), "personal_access_token": office.bot.token()});
    office.admin.write("matrix.backend", office.backend, url).await.unwrap();
    let press = async |office: &Office, button: &str| {
        office.admin.press("matrix.backend", office.backend, button).await.map(drop)
    };
    let odoo = office.server.url().to_owned();
    let early = press(&office, "action_send_as_appservice").await.expect_err("the homeserver has no file yet");
    assert!(format!("{early:#}").contains("Download Registration File"), "{early:#}");
    send_to_odoo(&mut office.synapse, &office.admin, office.backend, &odoo).await.unwrap();

    press(&office, "action_send_as_appservice").await.unwrap();

    let fields = ["sends_as_appservice", "test_result", "test_account", "test_device", "test_warnings"];
    let found = json!([["id", "=", office.backend]]);
    let found = office.admin.search_read("matrix.backend", found, &fields, "id").await.unwrap().remove(0);
    assert_eq!((&found["sends_as_appservice"], &found["test_result"]), (&json!(true), &json!("ok")), "{found}");
    assert_eq!(found["test_account"], office.bot.id(), "{found}");
    let device = found["test_device"].as_str().unwrap().to_owned();
    assert_ne!(device, office.bot.device_id());
    let mut check = office.launch.command(&["check"]);
    let checked = tokio::task::spawn_blocking(move || check.output()).await.unwrap().unwrap();
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains(&format!("{}, device {device}", office.bot.id())), "{checked}");

    // Synapse lets an account send ten at once, and then one in five seconds.
    let mut wanted = vec!["Case Doe against Acme created for Jane Doe".to_owned()];
    let began = Instant::now();
    for number in 1..=25 {
        wanted.push(format!("Message {number}"));
        send(&office, case, wanted.last().unwrap()).await;
    }
    let seen = story::arrived(&office, &office.room, wanted.len(), SOON).await.unwrap();
    let texts =
        |events: &[stack::synapse::Event]| events.iter().map(|event| event.body().to_owned()).collect::<Vec<_>>();
    assert_eq!(texts(&seen), wanted, "{}", office.worker.process().tail());
    assert!(began.elapsed() < SOON, "limited: {:?}", began.elapsed());
    assert!(seen.iter().all(|event| event.sender == office.bot.id()), "{seen:?}");

    // The room has it, the answer is lost, and then everything that could remember it ends but for Synapse's database.
    relay.lose("/send/m.room.message/");
    wanted.push("Once".to_owned());
    send(&office, case, "Once").await;
    let deadline = Instant::now() + SOON;
    while relay.left() > 0 {
        assert!(Instant::now() < deadline, "nothing was sent\n{}", office.worker.process().tail());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    office.worker.process().stop(Signal::KILL).await.unwrap();
    office.synapse.restart(Signal::KILL).await.unwrap();
    office.worker = office.launch.start("office").await.unwrap();
    wanted.push("After it".to_owned());
    send(&office, case, "After it").await;
    let seen = story::arrived(&office, &office.room, wanted.len(), SOON).await.unwrap();
    assert_eq!(texts(&seen), wanted, "{}", office.worker.process().tail());

    press(&office, "action_send_with_own_token").await.unwrap();
    wanted.push("With the access token".to_owned());
    send(&office, case, "With the access token").await;
    let seen = story::arrived(&office, &office.room, wanted.len(), SOON).await.unwrap();
    assert_eq!(texts(&seen), wanted, "{}", office.worker.process().tail());
}
