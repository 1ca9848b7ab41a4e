//! A conversation between the screen of a case and its room.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::axe::nothing_keeps_anybody_out;
use stack::browser::Browser;
use stack::office::{ADMIN_PASSWORD, Office};
use stack::story;

use crate::screens::visit;
use crate::{WITHIN, log_in, open_office};

const QUESTION: &str = "Can you bring the files by Friday?";

#[tokio::test]
async fn a_question_from_a_case_and_its_answer_from_the_room_are_read_on_the_case() {
    let office = open_office().await;
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    let url = format!("{}/mail_matrix/inbound/{}", office.server.url(), office.backend);
    let follows = json!({"inbound_mode": "follow", "inbound_url": url});
    office.admin.write("matrix.backend", office.backend, follows).await.unwrap();
    let form = format!("legal_case.legal_case_action/{case}");
    let browser = Browser::start().await.unwrap();
    let page = log_in(&browser, &office, "admin", ADMIN_PASSWORD).await;

    visit(&page, &office, &form).await;
    page.click(".nav-link[name=matrix]", "Matrix").await.unwrap();
    page.enter("[name=matrix_message] textarea", QUESTION).await.unwrap();
    page.click("button[name=action_matrix_send_message]", "Send").await.unwrap();
    page.see(".o_notification", "queued for sending").await.unwrap();
    page.click(".nav-link[name=matrix]", "Matrix").await.unwrap();
    page.see(".o_matrix_deliveries li:has([data-outcome=ok])", QUESTION).await.unwrap();

    let room = story::arrived(&office, &office.room, 2, WITHIN).await.unwrap();
    let question = &room.iter().find(|event| event.body() == QUESTION).expect("the question is in the room").event_id;
    is_followed(&office).await;
    let relation = json!({"m.in_reply_to": {"event_id": question}});
    let answer = json!({"msgtype": "m.text", "body": "Yes, on Thursday", "m.relates_to": relation});
    let answer = office.lawyer.say(&office.room, &answer).await.unwrap();
    office.lawyer.react(&office.room, question, "👍").await.unwrap();
    has_come_in(&office, 2).await;
    visit(&page, &office, &form).await;
    let note = page.see(".o-mail-Message", "Yes, on Thursday").await.unwrap();
    assert!(note.contains(QUESTION), "the note says what it answers: {note}");
    page.click(".nav-link[name=matrix]", "Matrix").await.unwrap();
    page.see(".o_matrix_deliveries li:has([data-outcome=ok]) .o_matrix_reactions", "👍").await.unwrap();
    nothing_keeps_anybody_out(&page, ".o_notebook .tab-pane.active").await.unwrap();

    let edit = json!({
        "msgtype": "m.text", "body": "* No, on Monday", "m.new_content": {"msgtype": "m.text", "body": "No, on Monday"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": answer},
    });
    office.lawyer.say(&office.room, &edit).await.unwrap();
    has_come_in(&office, 3).await;
    visit(&page, &office, &form).await;
    let thread = page.see(".o-mail-Thread", "No, on Monday").await.unwrap();
    assert!(!thread.contains("Thursday"), "the answer is replaced: {thread}");

    visit(&page, &office, "mail_matrix.matrix_inbound_action").await;
    page.see(".o_data_row", office.lawyer.id()).await.unwrap();
    nothing_keeps_anybody_out(&page, ".o_action_manager .o_content").await.unwrap();
}

/// Waits until the worker reads along: what was written before is history, which it leaves out.
async fn is_followed(office: &Office) {
    let database = office.site.database().connect().await.unwrap();
    let followed = "SELECT count(*) = 1 FROM matrix_follower WHERE since IS NOT NULL AND state = 'following'";
    let deadline = Instant::now() + WITHIN;
    while !database.query_one(followed, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "not followed\n{}", office.worker.process().tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until Odoo has shown `count` events of the room.
async fn has_come_in(office: &Office, count: usize) {
    let deadline = Instant::now() + WITHIN;
    loop {
        let found = office.admin.search_read("matrix.inbound", json!([]), &["kind", "error"], "id").await.unwrap();
        if found.len() >= count {
            assert!(found.iter().all(|event| event["error"] == Value::Bool(false)), "{found:?}");
            return;
        }
        assert!(Instant::now() < deadline, "{found:?}\n{}", office.worker.process().tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
