//! What keeps people with a screen reader, a keyboard or weak eyes from using our screens: axe-core finds none of it.

use serde_json::{Value, json};
use stack::axe;
use stack::browser::Page;
use stack::office::Office;
use stack::process::Signal;

/// What Odoo puts around a view is Odoo's.
const VIEW: &str = ".o_action_manager .o_content";
const DIALOG: &str = ".modal-content";

/// axe-core finds nothing serious in a part of the page, and no script has complained.
pub(crate) async fn nothing_keeps_anybody_out(page: &Page<'_>, part: &str) {
    let axe = axe::script().await.unwrap();
    let place = format!("in {part} of {}", page.address().await.unwrap());
    assert_eq!(page.barriers(&axe, part).await.unwrap(), Vec::<String>::new(), "{place}");
    assert_eq!(page.script_errors().await.unwrap(), Vec::<String>::new(), "{place}");
}

/// Before the first message was sent.
pub(crate) async fn of_the_first_steps(page: &Page<'_>, office: &Office) {
    for action in ["matrix_overview_action", "matrix_backend_action"] {
        visit(page, office, &format!("mail_matrix.{action}")).await;
        page.see(".o_matrix_setup", "").await.unwrap();
        nothing_keeps_anybody_out(page, VIEW).await;
    }
}

/// After messages of the case were sent, and one of another case failed.
pub(crate) async fn of_a_manager(page: &Page<'_>, office: &Office, case: i64) {
    of_the_overview_and_lists(page, office).await;
    of_the_backend(page, office).await;
    office.worker.process().stop(Signal::TERM).await.unwrap();
    office.admin.press("legal.case", case, "action_matrix_send_test").await.unwrap();
    of_the_case(page, office, case).await;
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
        nothing_keeps_anybody_out(page, VIEW).await;
    }
    let failed = newest(office, "matrix.log", json!([["status", "=", "failed"], ["error_code", "=", "M_FORBIDDEN"]]));
    visit(page, office, &format!("mail_matrix.matrix_log_action/{}", failed.await)).await;
    page.see(".o_form_view button[name=action_send_again]", "").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await;
}

async fn of_the_backend(page: &Page<'_>, office: &Office) {
    let form = format!("mail_matrix.matrix_backend_action/{}", office.backend);
    visit(page, office, &form).await;
    page.see("[name=test_result] .badge", "Connected").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await;
    page.click(".o_matrix_text_edit", "").await.unwrap();
    page.see(".o_matrix_text_editor", "").await.unwrap();
    nothing_keeps_anybody_out(page, DIALOG).await;

    visit(page, office, &form).await;
    page.click("button[name=action_log_in]", "").await.unwrap();
    page.see(".o_matrix_connect", "").await.unwrap();
    nothing_keeps_anybody_out(page, DIALOG).await;
}

/// The page Matrix with what was sent and what waits, the check of the room, and the composer.
async fn of_the_case(page: &Page<'_>, office: &Office, case: i64) {
    visit(page, office, &format!("legal_case.legal_case_action/{case}")).await;
    page.click(".nav-link[name=matrix]", "Matrix").await.unwrap();
    page.click("button[name=action_matrix_check_room]", "").await.unwrap();
    page.see(".o_notification", "Room ready").await.unwrap();
    page.click(".nav-link[name=matrix]", "Matrix").await.unwrap();
    page.see(".o_matrix_deliveries [data-outcome=waiting]", "").await.unwrap();
    nothing_keeps_anybody_out(page, ".o_notification").await;
    nothing_keeps_anybody_out(page, ".o_notebook .tab-pane.active").await;

    page.click("button[name=action_matrix_compose]", "").await.unwrap();
    page.see(".modal [name=body] textarea", "").await.unwrap();
    nothing_keeps_anybody_out(page, DIALOG).await;
    // Left open, its empty message would hold back the page.
    page.click(".modal-footer button", "Discard").await.unwrap();
    page.see_count(".modal", 0).await.unwrap();
}

async fn of_what_waits(page: &Page<'_>, office: &Office) {
    visit(page, office, "mail_matrix.matrix_lane_action").await;
    page.see(".o_data_row", "").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await;

    visit(page, office, "mail_matrix.matrix_message_action").await;
    page.see(".o_data_row", "Waiting").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await;
    page.click(".o_data_row [name=payload]", "Hello from Odoo").await.unwrap();
    page.see("button[name=action_discard]", "").await.unwrap();
    nothing_keeps_anybody_out(page, VIEW).await;
}

pub(crate) async fn visit(page: &Page<'_>, office: &Office, action: &str) {
    page.visit(&format!("{}/odoo/action-{action}", office.server.url())).await.unwrap();
}

async fn newest(office: &Office, model: &str, domain: Value) -> i64 {
    let found = office.admin.search_read(model, domain, &["id"], "id desc").await.unwrap();
    found[0]["id"].as_i64().unwrap()
}
