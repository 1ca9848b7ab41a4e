//! People of the homeserver as contacts in Odoo, and direct chats with them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::office::Office;
use stack::process::Signal;
use stack::synapse::User;

use crate::{bodies, open_office};

/// Sync Contacts with these choices, once; gives back what the wizard says.
async fn sync_contacts(office: &Office, choices: Value) -> String {
    let wizard = office.admin.create("matrix.contact.sync", choices).await.unwrap();
    office.admin.press("matrix.contact.sync", wizard, "action_sync").await.unwrap();
    let said =
        office.admin.search_read("matrix.contact.sync", json!([["id", "=", wizard]]), &["state", "result"], "id");
    let said = said.await.unwrap();
    assert_eq!(said[0]["state"], "done", "{said:?}");
    said[0]["result"].as_str().unwrap().to_owned()
}

/// The contact of a person: its id, its name, and whether there is a direct chat.
async fn contact(office: &Office, person: &User) -> Option<(i64, String, bool)> {
    let fields = ["display_name", "is_direct"];
    let domain = json!([["matrix_user_id", "=", person.id()], ["backend_id", "=", office.backend]]);
    let found = office.admin.search_read("matrix.contact", domain, &fields, "id").await.unwrap();
    assert!(found.len() < 2, "{found:?}");
    let contact = found.first()?;
    let name = contact["display_name"].as_str().unwrap().to_owned();
    Some((contact["id"].as_i64().unwrap(), name, contact["is_direct"] == true))
}

/// Does what *Start DM* does, and waits for the message's row in Logs; gives back its room.
async fn write_to(office: &Office, person: &User, text: &str) -> String {
    let (contact, ..) = contact(office, person).await.expect("the person is a contact");
    let action = office.admin.press("matrix.contact", contact, "action_start_dm").await.unwrap();
    assert_eq!(action["res_model"], "matrix.direct.composer");
    let values = json!({"contact_id": action["context"]["default_contact_id"], "body": text});
    let composer = office.admin.create("matrix.direct.composer", values).await.unwrap();
    office.admin.press("matrix.direct.composer", composer, "action_send").await.unwrap();

    let deadline = Instant::now() + Duration::from_secs(60);
    let fields = ["status", "event_type", "room_id", "matrix_user_id", "matrix_event_id", "error_message"];
    loop {
        let find = json!([["payload", "=", text]]);
        let rows = office.admin.search_read("matrix.log", find, &fields, "id").await.unwrap();
        if let Some(row) = rows.first() {
            let seen = (&row["status"], &row["event_type"], &row["matrix_user_id"]);
            assert_eq!(seen, (&json!("ok"), &json!("dm"), &json!(person.id())), "{row:?}");
            return row["room_id"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "{text} is not in Logs\n{}", office.worker.process().tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn people_become_contacts_and_each_has_one_direct_chat() {
    let mut office = open_office().await;
    let (bot, lawyer) = (office.bot.clone(), office.lawyer.clone());
    lawyer.set_display_name("Dr. Lawyer").await.unwrap();
    let register = async |name: &'static str| office.synapse.register(name, "let me in", false).await.unwrap();
    let (jane, joe) = (register("jane").await, register("joe").await);
    // Jane has made a room with the account by hand, and somebody has marked it as direct. Joe is in a room of a case.
    let by_hand = jane.create_room("Jane and Odoo", &[&bot]).await.unwrap();
    let of_case = joe.create_room("A case", &[&bot]).await.unwrap();
    for room in [&by_hand, &of_case] {
        bot.join(room).await.unwrap();
    }
    bot.set_direct(&json!({ jane.id(): [by_hand] })).await.unwrap();

    // The directory: Synapse fills it in the background, and lists who shares a room with the account.
    let search = json!({"backend_id": office.backend, "term": "Dr. Law", "with_direct": false, "with_rooms": false});
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut said = sync_contacts(&office, search.clone()).await;
    while said.starts_with("Nobody was found") && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
        said = sync_contacts(&office, search.clone()).await;
    }
    assert_eq!(said, "Contacts found: 1, of which new: 1.");
    let (_, name, is_direct) = contact(&office, &lawyer).await.unwrap();
    assert_eq!((name.as_str(), is_direct), ("Dr. Lawyer", false));
    assert_eq!(contact(&office, &jane).await, None);

    // Direct chats, and then everybody in the account's rooms.
    let recent = json!({"backend_id": office.backend, "with_direct": true, "with_rooms": false});
    // It looks up again whom it does not find, so the lawyer may be among them.
    assert!(sync_contacts(&office, recent).await.ends_with("of which new: 1."));
    assert!(contact(&office, &jane).await.unwrap().2);
    assert_eq!(contact(&office, &joe).await, None);
    let everybody = json!({"backend_id": office.backend, "with_direct": true, "with_rooms": true});
    assert_eq!(sync_contacts(&office, everybody.clone()).await, "Contacts found: 3, of which new: 1.");
    assert!(!contact(&office, &joe).await.unwrap().2);
    assert_eq!(sync_contacts(&office, everybody).await, "Contacts found: 3, of which new: 0.");
    let rooms_before = bot.rooms().await.unwrap().len();

    // A new person is invited to one room, and sees the message after joining.
    let room = write_to(&office, &lawyer, "Good morning").await;
    assert_eq!(lawyer.invitations().await.unwrap(), [(room.clone(), true)]);
    lawyer.join(&room).await.unwrap();
    assert_eq!(bodies(&lawyer.messages(&room).await.unwrap()), ["Good morning"]);

    // The room that was made by hand is used as it is.
    assert_eq!(write_to(&office, &jane, "Good evening").await, by_hand);
    assert_eq!(bodies(&jane.messages(&by_hand).await.unwrap()), ["Good evening"]);

    // The second message uses the room, also from a fresh worker when the database has forgotten the room.
    assert_eq!(write_to(&office, &lawyer, "The hearing is at ten").await, room);
    office.worker.process().stop(Signal::TERM).await.unwrap();
    let database = office.site.database().connect().await.unwrap();
    database.batch_execute("DELETE FROM matrix_lane").await.unwrap();
    office.worker = office.launch.start("fresh").await.unwrap();
    assert_eq!(write_to(&office, &lawyer, "Please be on time").await, room);

    let messages = lawyer.messages(&room).await.unwrap();
    assert_eq!(bodies(&messages), ["Good morning", "The hearing is at ten", "Please be on time"]);
    assert_eq!(bot.direct().await.unwrap(), json!({ jane.id(): [by_hand], lawyer.id(): [room] }));
    assert_eq!(bot.rooms().await.unwrap().len(), rooms_before + 1);
}
