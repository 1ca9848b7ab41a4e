//! Contacts, and direct messages to them.

use serde_json::json;
use stack::axe::nothing_keeps_anybody_out;
use stack::browser::{Browser, Page};
use stack::story;
use stack::synapse::Event;

use crate::{WITHIN, log_in, make_plain_user, open_app, open_office};

#[tokio::test]
async fn a_user_finds_people_and_starts_a_direct_chat_that_a_second_message_reuses() {
    let office = open_office().await;
    office.lawyer.set_display_name("Dr. Lawyer").await.unwrap();
    make_plain_user(&office, "clerk", "clerk-password").await;
    let browser = Browser::start().await.unwrap();
    let clerk = log_in(&browser, &office, "clerk", "clerk-password").await;

    sync_contacts(&clerk).await;
    no_contact_keeps_anybody_out(&clerk).await;
    send_direct(&clerk, "Good morning", 1).await;
    let room = story::logged(&office, 1, WITHIN).await.unwrap()[0]["room_id"].as_str().unwrap().to_owned();
    office.lawyer.join(&room).await.unwrap();
    send_direct(&clerk, "The hearing is at ten", 2).await;

    let logs = story::logged(&office, 2, WITHIN).await.unwrap();
    for row in &logs {
        assert_eq!((&row["status"], &row["event_type"], &row["room_id"]), (&json!("ok"), &json!("dm"), &json!(room)));
    }
    let messages = office.lawyer.messages(&room).await.unwrap();
    assert_eq!(messages.iter().map(Event::body).collect::<Vec<_>>(), ["Good morning", "The hearing is at ten"]);
}

/// The bot has no direct chat yet, but a room in which the lawyer is.
async fn sync_contacts(page: &Page<'_>) {
    open_app(page, "Matrix").await;
    page.click(".o_menu_sections *", "Contacts").await.unwrap();
    page.click(".o_control_panel button", "Sync Contacts").await.unwrap();
    page.click(".modal [name=with_rooms] input", "").await.unwrap();
    page.click(".modal button[name=action_sync]", "Sync").await.unwrap();
    page.see(".modal .alert-success", "Contacts found: 1, of which new: 1.").await.unwrap();
    nothing_keeps_anybody_out(page, ".modal-content").await.unwrap();
    page.click(".modal button[name=action_open_contacts]", "Open Contacts").await.unwrap();
}

async fn no_contact_keeps_anybody_out(page: &Page<'_>) {
    for (view, shown) in [("list", ".o_data_row"), ("kanban", ".o_kanban_record")] {
        page.click(&format!(".o_cp_switch_buttons .o_{view}"), "").await.unwrap();
        page.see(shown, "Dr. Lawyer").await.unwrap();
        nothing_keeps_anybody_out(page, ".o_action_manager .o_content").await.unwrap();
    }
}

/// Sends the person's message number `count` from the contact's form, and sees there that it was sent.
async fn send_direct(page: &Page<'_>, text: &str, count: usize) {
    page.click(".o_menu_sections *", "Contacts").await.unwrap();
    page.click(".o_kanban_record", "Dr. Lawyer").await.unwrap();
    page.click(".o_form_view button[name=action_start_dm]", "Start DM").await.unwrap();
    page.enter(".modal [name=body] textarea", text).await.unwrap();
    nothing_keeps_anybody_out(page, ".modal-content").await.unwrap();
    page.click(".modal button[name=action_send]", "Send").await.unwrap();
    page.see(".o_matrix_deliveries li:has([data-outcome=ok])", text).await.unwrap();
    page.see_count(".o_matrix_deliveries [data-outcome=ok]", count).await.unwrap();
    nothing_keeps_anybody_out(page, ".o_action_manager .o_content").await.unwrap();
}
