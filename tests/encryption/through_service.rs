//! A backend that sends through the application service encrypts without any password, with everything behind the dialog real.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stack::{
    axe::nothing_keeps_anybody_out,
    browser::{Browser, Key, Page},
    nio::Nio,
    office::{ADMIN_PASSWORD, Office, send_to_odoo},
    postgres::shared,
    process::Signal,
    story,
};

use crate::{
    BINARY,
    people::{Reader, STRICT},
};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_manager_sets_it_up_without_a_password_and_then_a_case_is_read_answered_and_reacted_to() {
    let mut office = Office::open(shared().await, Path::new(BINARY)).await.unwrap();
    let odoo = office.server.url().to_owned();
    send_to_odoo(&mut office.synapse, &office.admin, office.backend, &odoo).await.unwrap();
    office.lawyer.encrypt(&office.room).await.unwrap();
    Reader::new(&office.synapse, &office.bot).await.make_signing_keys().await;
    let mut lawyer = Reader::new(&office.synapse, &office.lawyer).await;
    let browser = Browser::start().await.unwrap();
    let page = browser.log_in(&odoo, "admin", ADMIN_PASSWORD).await.unwrap();
    let form = format!("{odoo}/odoo/action-mail_matrix.matrix_backend_action/{}", office.backend);
    page.visit(&form).await.unwrap();
    page.click(".nav-link[name=inbound]", "From Rooms").await.unwrap();
    page.click("button[name=action_send_as_appservice]", "Send Through It").await.unwrap();
    page.click(".modal footer .btn-primary", "").await.unwrap();
    page.see(".o_notification:has(.bg-success)", "Sending through the application service").await.unwrap();

    page.click(".nav-link[name=encryption]", "Encryption").await.unwrap();
    set_up_by_keyboard(&page).await;

    let device = backend(&office, "encryption_device").await;
    assert_eq!(backend(&office, "encryption_state").await, "ready");
    assert_ne!(device, office.bot.device_id());
    office.admin.press("matrix.backend", office.backend, "action_test_connection").await.unwrap();
    assert_eq!(backend(&office, "test_device").await, device);
    assert_eq!(backend(&office, "test_result").await, "ok");

    // Synapse lets an account send ten at once, and then one in five seconds.
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    let mut wanted = vec!["Case Doe against Acme created for Jane Doe".to_owned()];
    let began = Instant::now();
    for number in 1..=25 {
        wanted.push(format!("Message {number}"));
        send(&office, case, wanted.last().unwrap()).await;
    }
    let logs = story::logged(&office, wanted.len(), SOON).await.unwrap();
    assert!(began.elapsed() < SOON, "limited: {:?}", began.elapsed());
    assert!(logs.iter().all(|row| row["status"] == "ok"), "{logs:?}\n{}", office.worker.process().tail());
    let read: Vec<_> = lawyer.read(&office.room, STRICT).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(read, wanted);

    what_people_do_comes_in_once_and_in_order(&mut office, case, &mut lawyer).await;
    a_client_that_shares_nothing_with_the_worker_reads_and_answers(&office, case).await;
}

/// The choice that needs no password is made already: Tab leads to the button. The account has signing keys that nobody has any more.
async fn set_up_by_keyboard(page: &Page<'_>) {
    page.click("button[name=action_set_up_encryption]", "Set Up Encryption").await.unwrap();
    page.see(".modal label[for=o_matrix_device_service]", "Through the application service").await.unwrap();
    nothing_keeps_anybody_out(page, ".modal-content").await.unwrap();
    page.click(".modal #o_matrix_device_password", "").await.unwrap();
    page.see(".modal .o_matrix_encryption", "no longer sent through the application service").await.unwrap();
    nothing_keeps_anybody_out(page, ".modal-content").await.unwrap();
    page.press(Key::Escape).await.unwrap();
    page.see_count(".modal", 0).await.unwrap();
    page.click("button[name=action_set_up_encryption]", "Set Up Encryption").await.unwrap();
    page.click(".modal #o_matrix_device_service", "").await.unwrap();
    let stops = [page.tab().await.unwrap(), page.tab().await.unwrap()];
    assert_eq!(stops, ["Set Up", "Cancel"]);
    page.click(".modal #o_matrix_device_service", "").await.unwrap();
    page.press(Key::Enter).await.unwrap();
    page.see(".modal .alert-danger", "Enter its recovery key").await.unwrap();
    page.click(".modal #o_matrix_signing_replace", "").await.unwrap();
    page.see_count(".modal input[type=password]", 0).await.unwrap();
    nothing_keeps_anybody_out(page, ".modal-content").await.unwrap();
    page.press(Key::Enter).await.unwrap();
    page.see(".o_notification:has(.bg-success)", "Encryption is set up").await.unwrap();
}

/// The homeserver sends Odoo what it can read at once, while no worker runs: Odoo waits for the message before it.
async fn what_people_do_comes_in_once_and_in_order(office: &mut Office, case: i64, lawyer: &mut Reader) {
    let sent = office.logs().await.unwrap();
    let sent = sent[0]["matrix_event_id"].as_str().unwrap().to_owned();
    office.worker.process().stop(Signal::TERM).await.unwrap();
    say(office, lawyer, "I have the file").await;
    office.lawyer.react(&office.room, &sent, "👍").await.unwrap();
    let wrong = say(office, lawyer, "This is wrong").await;
    office.worker = office.launch.start("office").await.unwrap();
    let notes = story::notes(&office.admin, case, 2, SOON).await.unwrap();
    assert!(notes.len() == 2 && text(&notes[1]).contains("This is wrong"), "{notes:?}");

    office.lawyer.redact(&office.room, &wrong).await.unwrap();
    say(office, lawyer, "This is right").await;
    let notes = story::notes(&office.admin, case, 3, SOON).await.unwrap();

    assert_eq!(notes.len(), 3, "{notes:?}\n{}", office.worker.process().tail());
    assert!(text(&notes[0]).contains("I have the file") && text(&notes[2]).contains("This is right"), "{notes:?}");
    assert!(!text(&notes[1]).contains("This is wrong"), "{notes:?}");
    let came = office.admin.search_read("matrix.inbound", json!([]), &["kind", "reaction"], "id").await.unwrap();
    let kinds: Vec<_> = came.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "reaction", "message", "redaction", "message"], "{came:?}");
    assert_eq!(came[1]["reaction"], "👍");
}

/// On a second device of the lawyer.
async fn a_client_that_shares_nothing_with_the_worker_reads_and_answers(office: &Office, case: i64) {
    let laptop = office.synapse.log_in(&office.lawyer, office.matrix_password).await.unwrap();
    let mut laptop = Nio::start(office.synapse.url(), &laptop).await.unwrap();
    send(office, case, "For your laptop").await;
    let read = laptop.next().await.unwrap();
    assert_eq!(read["is_decrypted"], true, "{read}\n{}", office.worker.process().tail());
    assert!(read["text"].as_str().unwrap().contains("For your laptop"), "{read}");
    laptop.say(&office.room, "From my laptop").await.unwrap();
    let notes = story::notes(&office.admin, case, 4, SOON).await.unwrap();
    assert!(notes.len() == 4 && text(&notes[3]).contains("From my laptop"), "{notes:?}");
}

/// Writes an encrypted text and gives its key; returns the ID of the event.
async fn say(office: &Office, lawyer: &mut Reader, body: &str) -> String {
    let keys = lawyer.say(&office.room, &json!({"msgtype": "m.text", "body": body})).await;
    lawyer.give_keys(&keys).await;
    office.lawyer.timeline(&office.room).await.unwrap().pop().unwrap().event_id
}

async fn send(office: &Office, case: i64, body: &str) {
    office.admin.write("legal.case", case, json!({"matrix_message": body})).await.unwrap();
    office.admin.press("legal.case", case, "action_matrix_send_message").await.unwrap();
}

async fn backend(office: &Office, field: &str) -> Value {
    let found = json!([["id", "=", office.backend]]);
    office.admin.search_read("matrix.backend", found, &[field], "id").await.unwrap()[0][field].clone()
}

fn text(note: &Value) -> &str {
    note["body"].as_str().unwrap_or_default()
}
