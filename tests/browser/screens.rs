//! What keeps people with a screen reader, a keyboard or weak eyes from using our screens: axe-core finds none of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::axe::nothing_keeps_anybody_out;
use stack::browser::Page;
use stack::office::Office;
use stack::process::Signal;

use crate::{WITHIN, keyboard};

/// What Odoo puts around a view is Odoo's.
const VIEW: &str = ".o_action_manager .o_content";
const DIALOG: &str = ".modal-content";

/// Before the first message was sent.
pub(crate) async fn of_the_first_steps(page: &Page<'_>, office: &Office) {
    for action in ["matrix_overview_action", "matrix_backend_action"] {
        visit(page, office, &format!("mail_matrix.{action}")).await;
        page.see(".o_matrix_setup", "").await.unwrap();
        nothing_keeps_anybody_out(page, VIEW).await.unwrap();
    }
}

/// After messages of the case were sent, and one of another case failed.
pub(crate) async fn of_a_manager(page: &Page<'_>, office: &Office, case: i64) {
    of_the_overview_and_lists(page, office).await;
    of_the_backend(page, office).await;
    of_what_was_not_sent(page, office).await;
    office.worker.process().stop(Signal::TERM).await.unwrap();
    office.admin.press("legal.case", case, "action_matrix_send_test").await.unwrap();
    of_the_case(page, office, case).await;
    keyboard::on_the_case(page, office, case).await;
    of_what_waits(page, office).await;
}

async fn of_the_overview_and_lists(page: &Page<'_>, office: &Office) {
    let lists = [
        ("mail_matrix.matrix_overview_action", ".o_matrix_week"),
        ("mail_matrix.matrix_log_action", ".o_data_row"),
        ("mail_matrix.matrix_worker_action", ".o_data_row"),
        ("mail_matrix.res_users_action_matrix", ".o_data_row"),
        ("mail_matrix.matrix_inbound_action", ".o_nocontent_help"),
        ("legal_case.legal_case_action", ".o_kanban_record"),
    ];
    for (action, shown) in lists {
        visit(page, office, action).await;
        page.see(shown, "").await.unwrap();
        nothing_keeps_anybody_out(page, VIEW).await.unwrap();
    }
    let failed = newest(office, "matrix.log", json!([["status", "=", "failed"], ["error_code", "=", "M_FORBIDDEN"]]));
    visit(page, office, &format!("mail_matrix.matrix_log_action/{}", failed.await)).await;
    page.see(".o_form_view button[name=action_view_retried]", "Queued Again").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await.unwrap();
}

async fn of_the_backend(page: &Page<'_>, office: &Office) {
    let form = format!("mail_matrix.matrix_backend_action/{}", office.backend);
    visit(page, office, &form).await;
    page.see("[name=test_result] .badge", "Connected").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await.unwrap();
    for name in ["inbound", "encryption"] {
        page.click(&format!(".nav-link[name={name}]"), "").await.unwrap();
        nothing_keeps_anybody_out(page, VIEW).await.unwrap();
    }
    page.click(".nav-link[name=texts]", "").await.unwrap();
    page.click(".o_matrix_text_edit", "").await.unwrap();
    page.see(".o_matrix_text_editor", "").await.unwrap();
    nothing_keeps_anybody_out(page, DIALOG).await.unwrap();

    let feeds = json!({"inbound_mode": "appservice"});
    office.admin.write("matrix.backend", office.backend, feeds).await.unwrap();
    visit(page, office, &form).await;
    page.click(".nav-link[name=inbound]", "").await.unwrap();
    page.see("button[name=action_download_registration]", "").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await.unwrap();

    visit(page, office, &form).await;
    page.click("button[name=action_log_in]", "").await.unwrap();
    page.see(".o_matrix_connect", "").await.unwrap();
    nothing_keeps_anybody_out(page, DIALOG).await.unwrap();
    keyboard::in_the_first_dialog(page).await;
}

/// What is written in the chatter of a case whose room refuses it is red there, and leads to the reason.
async fn of_what_was_not_sent(page: &Page<'_>, office: &Office) {
    let room = office.lawyer.create_room("Refuses", &[]).await.unwrap();
    let case = office.open_case("Refused", "Jane Doe", &room).await.unwrap();
    office.admin.write("legal.case", case, json!({"matrix_mirror_chatter": true})).await.unwrap();
    let note = json!({"body": "Please read this", "message_type": "comment", "subtype_xmlid": "mail.mt_comment"});
    office.admin.execute_kw("legal.case", "message_post", json!([[case]]), note).await.unwrap();
    // The case's creation is refused as well.
    has_failed(office, case).await;
    let cron = newest(office, "ir.cron", json!([["name", "like", "Matrix: show in the chatter"]])).await;
    office.admin.press("ir.cron", cron, "method_direct_trigger").await.unwrap();

    visit(page, office, &format!("legal_case.legal_case_action/{case}")).await;
    page.click(".o-mail-Message-notification.text-danger", "").await.unwrap();
    page.see(".modal .o_data_row", "Please read this").await.unwrap();
    nothing_keeps_anybody_out(page, DIALOG).await.unwrap();
    keyboard::in_what_was_not_sent(page).await;
}

/// The page Matrix with what was sent and what waits, the check of the room, and the composer.
async fn of_the_case(page: &Page<'_>, office: &Office, case: i64) {
    visit(page, office, &format!("legal_case.legal_case_action/{case}")).await;
    page.click(".nav-link[name=matrix]", "Matrix").await.unwrap();
    page.click("button[name=action_matrix_check_room]", "").await.unwrap();
    page.see(".o_notification", "Room ready").await.unwrap();
    page.click(".nav-link[name=matrix]", "Matrix").await.unwrap();
    page.see(".o_matrix_deliveries [data-outcome=waiting]", "").await.unwrap();
    nothing_keeps_anybody_out(page, ".o_notification").await.unwrap();
    nothing_keeps_anybody_out(page, ".o_notebook .tab-pane.active").await.unwrap();

    page.click("button[name=action_matrix_compose]", "").await.unwrap();
    page.see(".modal [name=body] textarea", "").await.unwrap();
    nothing_keeps_anybody_out(page, DIALOG).await.unwrap();
    // Left open, its empty message would hold back the page.
    page.click(".modal-footer button", "Cancel").await.unwrap();
    page.see_count(".modal", 0).await.unwrap();
}

async fn of_what_waits(page: &Page<'_>, office: &Office) {
    visit(page, office, "mail_matrix.matrix_lane_action").await;
    page.see(".o_data_row", "").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await.unwrap();

    visit(page, office, "mail_matrix.matrix_message_action").await;
    page.see(".o_data_row", "Waiting").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await.unwrap();
    page.click(".o_data_row [name=payload]", "Hello from Odoo").await.unwrap();
    page.see("button[name=action_discard]", "").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await.unwrap();
}

async fn has_failed(office: &Office, case: i64) {
    let failed = json!([["res_id", "=", case], ["event_type", "=", "chatter"], ["status", "=", "failed"]]);
    let deadline = Instant::now() + WITHIN;
    while office.admin.search_read("matrix.log", failed.clone(), &["id"], "id").await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "nothing failed\n{}", office.worker.process().tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn visit(page: &Page<'_>, office: &Office, action: &str) {
    page.visit(&format!("{}/odoo/action-{action}", office.server.url())).await.unwrap();
}

async fn newest(office: &Office, model: &str, domain: Value) -> i64 {
    let found = office.admin.search_read(model, domain, &["id"], "id desc").await.unwrap();
    found[0]["id"].as_i64().unwrap()
}
