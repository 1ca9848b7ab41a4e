//! Without a mouse: Tab leads through a screen in the order in which it is read, one sees where one is, and Escape
//! closes what Enter has opened.

use stack::browser::{Key, Page};
use stack::office::Office;

use crate::screens::visit;

/// The page Matrix of a case with messages, and its dialog.
pub(crate) async fn on_the_case(page: &Page<'_>, office: &Office, case: i64) {
    visit(page, office, &format!("legal_case.legal_case_action/{case}")).await;
    page.click(".nav-link[name=matrix]", "Matrix").await.unwrap();
    page.see(".o_matrix_deliveries li", "").await.unwrap();
    page.click("[name=matrix_room_id] input", "").await.unwrap();
    let room = [
        "matrix_room_alias",
        "matrix_follow_people",
        "matrix_mirror_chatter",
        "matrix_receives_replies",
        "action_matrix_open",
        "action_matrix_check_room",
        "action_matrix_invite_people",
    ];
    leads_to(page, &room).await;
    leads_to(page, &["matrix_message", "action_matrix_send_message", "action_matrix_compose"]).await;

    page.press(Key::Enter).await.unwrap();
    page.see(".modal [name=body] textarea", "").await.unwrap();
    leads_to(page, &["action_send", "Cancel"]).await;
    page.press(Key::Escape).await.unwrap();
    page.see_count(".modal", 0).await.unwrap();
}

/// The dialog that connects a homeserver: an error leaves the cursor where it was.
pub(crate) async fn in_the_first_dialog(page: &Page<'_>) {
    page.enter("#o_matrix_user", "nobody").await.unwrap();
    page.enter("#o_matrix_password", "wrong").await.unwrap();
    leads_to(page, &["Connect"]).await;
    page.press(Key::Enter).await.unwrap();
    page.see(".modal .alert-danger", "").await.unwrap();
    leads_to(page, &["Cancel", "o_matrix_url", "o_matrix_verify", "o_matrix_way_password", "o_matrix_user"]).await;
    page.press(Key::Escape).await.unwrap();
    page.see_count(".modal", 0).await.unwrap();
}

/// The dialog about what was not sent.
pub(crate) async fn in_what_was_not_sent(page: &Page<'_>) {
    leads_to(page, &["Close", "action_retry"]).await;
    page.press(Key::Escape).await.unwrap();
    page.see_count(".modal", 0).await.unwrap();
}

/// Tab stops at these fields and buttons, and at no others.
async fn leads_to(page: &Page<'_>, stops: &[&str]) {
    let mut reached = Vec::new();
    for _stop in stops {
        reached.push(page.tab().await.unwrap());
    }
    assert_eq!(reached, stops);
}
