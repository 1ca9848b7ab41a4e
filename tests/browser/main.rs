//! The screens in a real browser, with everything behind them real: Odoo, PostgreSQL, the worker, Synapse.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

mod conversation;
mod direct;
mod keyboard;
mod screens;

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use stack::browser::{Browser, Page};
use stack::office::{ADMIN_PASSWORD, Office};
use stack::synapse::Event;
use stack::{postgres, story};

const WITHIN: Duration = Duration::from_secs(90);
const FAILURE: &str = "Case Closed door created for Jane Doe";

async fn open_office() -> Office {
    let binary = Path::new(env!("CARGO_BIN_EXE_odoo-matrix-worker"));
    Office::open(postgres::shared().await, binary).await.unwrap()
}

#[tokio::test]
async fn a_manager_connects_links_sends_and_retries_and_a_user_sees_no_backends() {
    let office = open_office().await;
    let case = office.open_case("Doe against Acme", "Jane Doe", "").await.unwrap();
    let browser = Browser::start().await.unwrap();
    let manager = log_in(&browser, &office, "admin", ADMIN_PASSWORD).await;

    screens::of_the_first_steps(&manager, &office).await;
    test_the_connection(&manager, &office).await;
    link_a_room_and_send(&manager, &office).await;
    retry_what_failed(&manager, &office).await;
    screens::of_a_manager(&manager, &office, case).await;

    make_plain_user(&office, "clerk", "clerk-password").await;
    let clerk = log_in(&browser, &office, "clerk", "clerk-password").await;
    open_app(&clerk, "Matrix").await;
    let menus = clerk.see(".o_main_navbar", "Logs").await.unwrap();
    for hidden in ["Backends", "Overview", "Configuration"] {
        assert!(!menus.contains(hidden), "a plain user is shown {hidden} in: {menus}");
    }
}

async fn log_in<'a>(browser: &'a Browser, office: &Office, user: &str, password: &str) -> Page<'a> {
    browser.log_in(office.server.url(), user, password).await.unwrap()
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
    screens::visit(page, office, "mail_matrix.matrix_log_action").await;
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

async fn make_plain_user(office: &Office, login: &str, password: &str) {
    let groups = json!([["module", "=", "mail_matrix"], ["name", "=", "group_matrix_user"]]);
    let groups = office.admin.search_read("ir.model.data", groups, &["res_id"], "id").await.unwrap();
    // 18.0 and 19.0 have two names for it.
    let fields = office.admin.execute_kw("res.users", "fields_get", json!([["group_ids"]]), json!({})).await.unwrap();
    let field = if fields["group_ids"].is_object() { "group_ids" } else { "groups_id" };
    let user = json!({"name": login, "login": login, "password": password, field: [[4, groups[0]["res_id"]]]});
    office.admin.create("res.users", user).await.unwrap();
}
