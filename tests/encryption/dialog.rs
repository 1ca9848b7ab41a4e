//! Encryption as a Matrix Manager sets it up in Odoo, with everything behind the dialog real: a browser, Odoo, PostgreSQL, the worker, Synapse.

use std::{path::Path, time::Duration};

use serde_json::json;
use stack::{
    axe::nothing_keeps_anybody_out,
    browser::Browser,
    files,
    nio::Nio,
    office::{ADMIN_PASSWORD, Office},
    postgres::shared,
    story,
};

use crate::{
    BINARY,
    people::{Reader, STRICT},
};

#[tokio::test]
async fn a_manager_sets_it_up_with_a_password_and_then_a_case_is_read_and_answered_in_an_encrypted_room() {
    let office = Office::open(shared().await, Path::new(BINARY)).await.unwrap();
    let url = format!("{}/mail_matrix/inbound/{}", office.server.url(), office.backend);
    let follows = json!({"inbound_mode": "follow", "inbound_url": url});
    office.admin.write("matrix.backend", office.backend, follows).await.unwrap();
    office.lawyer.encrypt(&office.room).await.unwrap();
    let mut lawyer = Reader::new(&office.synapse, &office.lawyer).await;
    let browser = Browser::start().await.unwrap();
    let page = browser.log_in(office.server.url(), "admin", ADMIN_PASSWORD).await.unwrap();
    let form = format!("/odoo/action-mail_matrix.matrix_backend_action/{}", office.backend);
    page.visit(&format!("{}{form}", office.server.url())).await.unwrap();

    page.click(".nav-link[name=encryption]", "Encryption").await.unwrap();
    page.click("button[name=action_set_up_encryption]", "Set Up Encryption").await.unwrap();
    page.see(".modal .o_matrix_encryption", "").await.unwrap();
    nothing_keeps_anybody_out(&page, ".modal-content").await.unwrap();
    page.enter(".modal #o_matrix_device_user", office.bot.id()).await.unwrap();
    page.enter(".modal #o_matrix_device_secret", office.matrix_password).await.unwrap();
    page.click(".modal footer .btn-primary", "Set Up").await.unwrap();

    page.see(".o_notification:has(.bg-success)", "Encryption is set up").await.unwrap();
    let shown = ["encryption_state", "encryption_device", "encryption_problem"];
    let find = json!([["id", "=", office.backend]]);
    let backend = office.admin.search_read("matrix.backend", find, &shown, "id").await.unwrap().remove(0);
    assert_eq!((&backend["encryption_state"], &backend["encryption_problem"]), (&json!("ready"), &json!(false)));
    assert_ne!(backend["encryption_device"], office.bot.device_id(), "Odoo logged in as a device of its own");

    // The client of the lawyer shows only messages of devices that their account has signed.
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    let logs = story::logged(&office, 1, Duration::from_secs(60)).await.unwrap();
    let seen: Vec<_> = logs.iter().map(|row| (&row["status"], &row["error_code"])).collect();
    assert_eq!(seen, [(&json!("ok"), &json!(false))], "{logs:?}\n{}", office.worker.process().tail());
    let read = lawyer.read(&office.room, STRICT).await;
    assert_eq!(read, [Ok("Case Doe against Acme created for Jane Doe".to_owned())]);

    let reply = json!({"msgtype": "m.text", "body": "I have the file"});
    let keys = lawyer.say(&office.room, &reply).await;
    lawyer.give_keys(&keys).await;
    let notes = story::notes(&office.admin, case, 1, Duration::from_secs(60)).await.unwrap();
    assert_eq!(notes.len(), 1, "{}", office.worker.process().tail());
    assert!(notes[0]["body"].as_str().unwrap().contains("I have the file"), "{notes:?}");

    a_client_that_shares_nothing_with_the_worker_reads_and_answers(&office, case).await;
}

/// The lawyer's second device is on another implementation of encryption. It reads a text and a file, and sends both.
async fn a_client_that_shares_nothing_with_the_worker_reads_and_answers(office: &Office, case: i64) {
    let laptop = office.synapse.log_in(&office.lawyer, office.matrix_password).await.unwrap();
    let mut laptop = Nio::start(office.synapse.url(), &laptop).await.unwrap();
    let url = format!("{}/mail_matrix/files/{}", office.server.url(), office.backend);
    office.admin.write("matrix.backend", office.backend, json!({"send_files": true, "files_url": url})).await.unwrap();
    office.admin.write("legal.case", case, json!({"matrix_mirror_chatter": true})).await.unwrap();
    let pdf = files::pdf();

    let file = json!({"name": "contract.pdf", "datas": files::base64(&pdf)});
    let file = office.admin.create("ir.attachment", file).await.unwrap();
    let post = json!({
        "body": "The contract", "message_type": "comment", "subtype_xmlid": "mail.mt_comment", "attachment_ids": [file],
    });
    office.admin.execute_kw("legal.case", "message_post", json!([[case]]), post).await.unwrap();

    let text = laptop.next().await.unwrap();
    assert_eq!(text["is_decrypted"], true, "{text}\n{}", office.worker.process().tail());
    assert!(text["text"].as_str().unwrap().contains("The contract"), "{text}");
    assert_eq!(laptop.next().await.unwrap(), json!({"file": "contract.pdf"}));
    assert!(laptop.file("contract.pdf").unwrap() == pdf, "it is the same file");

    laptop.say(&office.room, "I will sign it").await.unwrap();
    laptop.send(&office.room, "signed.pdf", &pdf).await.unwrap();
    let notes = story::notes(&office.admin, case, 3, Duration::from_secs(60)).await.unwrap();
    let bodies: Vec<_> = notes.iter().map(|note| note["body"].as_str().unwrap()).collect();
    assert!(
        bodies.len() == 3 && bodies[1].contains("I will sign it"),
        "{bodies:?}\n{}",
        office.worker.process().tail()
    );
    files::check_attached(office, case, &[("signed.pdf", "application/pdf", pdf)]).await.unwrap();
}
