//! The screens in a real browser, with everything behind them real: Odoo, PostgreSQL, the worker, Synapse.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use stack::browser::{Browser, Page};
use stack::office::{ADMIN_PASSWORD, Office};
use stack::synapse::Event;
use stack::{axe, postgres, story};

const WITHIN: Duration = Duration::from_secs(90);
const FAILURE: &str = "Case Closed door created for Jane Doe";

#[tokio::test]
async fn a_manager_connects_links_sends_and_retries_and_a_user_sees_no_backends() {
    let binary = Path::new(env!("CARGO_BIN_EXE_odoo-matrix-worker"));
    let office = Office::open(postgres::shared().await, binary).await.unwrap();
    office.open_case("Doe against Acme", "Jane Doe", "").await.unwrap();
    let browser = Browser::start().await.unwrap();
    let manager = log_in(&browser, &office, "admin", ADMIN_PASSWORD).await;

    test_the_connection(&manager, &office).await;
    link_a_room_and_send(&manager, &office).await;
    nothing_keeps_anybody_out(&manager, ".o_notebook .tab-pane.active").await;
    retry_what_failed(&manager, &office).await;
    open_app(&manager, "Matrix").await;
    manager.click(".o_menu_sections *", "Overview").await.unwrap();
    manager.see(".o_matrix_slow_rooms, .o_matrix_week", "").await.unwrap();
    nothing_keeps_anybody_out(&manager, ".o_matrix_overview").await;
    assert_eq!(manager.script_errors().await.unwrap(), Vec::<String>::new());

    make_plain_user(&office, "clerk", "clerk-password").await;
    let clerk = log_in(&browser, &office, "clerk", "clerk-password").await;
    open_app(&clerk, "Matrix").await;
    let menus = clerk.see(".o_main_navbar", "Logs").await.unwrap();
    for hidden in ["Backends", "Overview", "Configuration"] {
        assert!(!menus.contains(hidden), "a plain user is shown {hidden} in: {menus}");
    }
}

#[tokio::test]
async fn a_user_finds_people_and_starts_a_direct_chat_that_a_second_message_reuses() {
    let binary = Path::new(env!("CARGO_BIN_EXE_odoo-matrix-worker"));
    let office = Office::open(postgres::shared().await, binary).await.unwrap();
    office.lawyer.set_display_name("Dr. Lawyer").await.unwrap();
    make_plain_user(&office, "clerk", "clerk-password").await;
    let browser = Browser::start().await.unwrap();
    let clerk = log_in(&browser, &office, "clerk", "clerk-password").await;

    sync_contacts(&clerk).await;
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
    page.click(".modal button[name=action_open_contacts]", "Open Contacts").await.unwrap();
}

/// Sends the person's message number `count` from the contact's form, and sees there that it was sent.
async fn send_direct(page: &Page<'_>, text: &str, count: usize) {
    page.click(".o_menu_sections *", "Contacts").await.unwrap();
    page.click(".o_kanban_record", "Dr. Lawyer").await.unwrap();
    page.click(".o_form_view button[name=action_start_dm]", "Start DM").await.unwrap();
    page.enter(".modal [name=body] textarea", text).await.unwrap();
    page.click(".modal button[name=action_send]", "Send").await.unwrap();
    page.see(".o_matrix_deliveries li:has([data-outcome=ok])", text).await.unwrap();
    page.see_count(".o_matrix_deliveries [data-outcome=ok]", count).await.unwrap();
}

async fn log_in<'a>(browser: &'a Browser, office: &Office, user: &str, password: &str) -> Page<'a> {
    let page = browser.open().await.unwrap();
    page.visit(&format!("{}/web/login", office.server.url())).await.unwrap();
    page.enter("input[name=login]", user).await.unwrap();
    page.enter("input[name=password]", password).await.unwrap();
    page.click(".oe_login_form button[type=submit]", "Log in").await.unwrap();
    page.see(".o_main_navbar", "").await.unwrap();
    page
}

async fn open_app(page: &Page<'_>, name: &str) {
    page.click(".o_navbar_apps_menu button", "").await.unwrap();
    page.click(".o-dropdown--menu .o_app", name).await.unwrap();
    page.see(".o_menu_brand", name).await.unwrap();
}

async fn test_the_connection(page: &Page<'_>, office: &Office) {
    open_app(page, "Matrix").await;
    page.click(".o_menu_sections *", "Backends").await.unwrap();
    page.click(".o_data_row .o_data_cell", "Law Office").await.unwrap();
    page.click("button[name=action_test_connection]", "Test Connection").await.unwrap();

    page.see(".o_notification:has(.bg-success)", "Connected to Matrix").await.unwrap();
    page.see("[name=test_result] .badge", "Connected").await.unwrap();
    page.see("[name=test_account]", office.bot.id()).await.unwrap();
    page.see("[name=test_device]", office.bot.device_id()).await.unwrap();
}

async fn link_a_room_and_send(page: &Page<'_>, office: &Office) {
    open_app(page, "Legal").await;
    page.click(".o_kanban_record", "Doe against Acme").await.unwrap();
    page.click(".nav-link[name=matrix]", "Matrix").await.unwrap();
    page.enter("[name=matrix_room_id] input", &office.room).await.unwrap();
    page.click("button[name=action_matrix_send_test]", "Send Test Message").await.unwrap();
    // Saved and loaded again, the form shows its first page.
    page.see(".o_notification", "queued for sending").await.unwrap();
    page.click(".nav-link[name=matrix]", "Matrix").await.unwrap();

    page.see(".o_matrix_deliveries li:has([data-outcome=ok])", "Hello from Odoo").await.unwrap();
    page.see(".o_matrix_deliveries [data-outcome=ok]", "Sent").await.unwrap();
    // The case was opened without a room: its first room gets that message first.
    let messages = story::arrived(office, &office.room, 2, WITHIN).await.unwrap();
    let bodies: Vec<_> = messages.iter().map(Event::body).collect();
    assert_eq!(bodies, ["Case Doe against Acme created for Jane Doe", "Hello from Odoo"]);
}

/// The room refuses the bot at first; then a person fixes that and retries.
async fn retry_what_failed(page: &Page<'_>, office: &Office) {
    let room = office.lawyer.create_room("Closed", &[]).await.unwrap();
    office.open_case("Closed door", "Jane Doe", &room).await.unwrap();
    // Before them: no room when the case was opened, then its creation and the test message.
    let logs = story::logged(office, 4, WITHIN).await.unwrap();
    assert_eq!((&logs[3]["status"], &logs[3]["error_code"]), (&json!("failed"), &json!("M_FORBIDDEN")));
    open_app(page, "Matrix").await;
    page.click(".o_menu_sections *", "Logs").await.unwrap();
    page.see(".o_data_row", "Hello from Odoo").await.unwrap();

    page.click(".o_searchview_dropdown_toggler", "").await.unwrap();
    page.click(".o_filter_menu .o_menu_item", "Failed").await.unwrap();
    page.click(".o_searchview_dropdown_toggler", "").await.unwrap();
    page.see_count(".o_data_row", 1).await.unwrap();
    page.see(".o_data_row", FAILURE).await.unwrap();
    office.lawyer.invite(&room, &office.bot).await.unwrap();
    page.click(".o_data_row button[name=action_retry]", "").await.unwrap();

    page.see(".o_notification", "queued for sending").await.unwrap();
    let logs = story::logged(office, 5, WITHIN).await.unwrap();
    assert_eq!(logs[4]["status"], "ok", "{logs:?}\n{}", office.worker.process().tail());
    let messages = office.lawyer.messages(&room).await.unwrap();
    assert_eq!(messages.iter().map(Event::body).collect::<Vec<_>>(), [FAILURE]);
}

/// axe-core finds nothing serious in what we put on the screen; what Odoo puts around it is Odoo's.
async fn nothing_keeps_anybody_out(page: &Page<'_>, part: &str) {
    let axe = axe::script().await.unwrap();
    assert_eq!(page.barriers(&axe, part).await.unwrap(), Vec::<String>::new(), "in {part}");
}

async fn make_plain_user(office: &Office, login: &str, password: &str) {
    let groups = json!([["module", "=", "mail_matrix"], ["name", "=", "group_matrix_user"]]);
    let groups = office.admin.search_read("ir.model.data", groups, &["res_id"], "id").await.unwrap();
    // 18.0 and 19.0 have two names for it.
    let fields = office.admin.execute_kw("res.users", "fields_get", json!([["group_ids"]]), json!({})).await.unwrap();
    let field = if fields["group_ids"].is_object() { "group_ids" } else { "groups_id" };
    let user = json!({"name": login, "login": login, "password": password, field: [[4, groups[0]["res_id"]]]});
    office.admin.create("res.users", user).await.unwrap();
}
