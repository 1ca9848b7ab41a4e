//! The whole path on real parts: Odoo, PostgreSQL, the worker, Synapse.
#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::office::Office;
use stack::process::Signal;
use stack::synapse::{Event, User};
use stack::{postgres, story};

async fn open_office() -> Office {
    let binary = Path::new(env!("CARGO_BIN_EXE_odoo-matrix-worker"));
    Office::open(postgres::shared().await, binary).await.unwrap()
}

fn bodies(messages: &[Event]) -> Vec<&str> {
    messages.iter().map(Event::body).collect()
}

#[tokio::test]
async fn what_happens_to_a_case_is_read_in_its_room_and_in_logs() {
    let office = open_office().await;

    let texts = story::play(&office).await.unwrap();

    story::check(&office, &texts).await.unwrap();
}

/// Synapse takes ten messages at once and then one in five seconds.
#[tokio::test]
async fn more_messages_than_the_homeserver_takes_at_once_all_arrive() {
    let office = open_office().await;
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    let mut texts = vec!["Case Doe against Acme created for Jane Doe".to_owned()];
    let began = Instant::now();

    for number in 2..=15 {
        texts.push(format!("Message {number}"));
        office.admin.write("legal.case", case, json!({"matrix_message": texts.last()})).await.unwrap();
        office.admin.press("legal.case", case, "action_matrix_send_message").await.unwrap();
    }

    let messages = story::arrived(&office, &office.room, texts.len(), Duration::from_secs(180)).await.unwrap();
    assert_eq!(bodies(&messages), texts, "{}", office.worker.process().tail());
    assert!(began.elapsed() > Duration::from_secs(10), "the homeserver limited nobody: {:?}", began.elapsed());
    let logs = story::logged(&office, texts.len(), Duration::from_secs(30)).await.unwrap();
    assert_eq!(logs.iter().map(|row| row["status"].as_str().unwrap()).collect::<Vec<_>>(), ["ok"; 15]);
}

#[tokio::test]
async fn a_transaction_that_odoo_rolls_back_sends_nothing() {
    let office = open_office().await;
    let client = office.admin.create("res.partner", json!({"name": "Jane Doe"})).await.unwrap();
    let case = |name: &str, client| json!({"name": name, "partner_id": client, "matrix_room_id": office.room});

    let both = json!([[case("Rolled back", client), case("No such client", 0x7fff_ffff)]]);
    office.admin.execute_kw("legal.case", "create", both, json!({})).await.expect_err("there is no such client");
    office.admin.create("legal.case", case("Kept", client)).await.unwrap();

    let messages = story::arrived(&office, &office.room, 1, Duration::from_secs(60)).await.unwrap();
    assert_eq!(bodies(&messages), ["Case Kept created for Jane Doe"]);
    assert_eq!(story::logged(&office, 1, Duration::from_secs(30)).await.unwrap().len(), 1);
    let database = office.site.database().connect().await.unwrap();
    let waiting = database.query_one("SELECT count(*) FROM matrix_outbox", &[]).await.unwrap();
    assert_eq!(waiting.get::<_, i64>(0), 0);
}

/// Waits until the lawyer sees what `seen` looks for in the room; returns what they see in the end, oldest first.
async fn until(office: &Office, seen: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let deadline = Instant::now() + Duration::from_secs(90);
    let (_, mut since) = office.lawyer.sync(&office.room, "").await.unwrap();
    loop {
        let events = office.lawyer.timeline(&office.room).await.unwrap();
        if seen(&events) || Instant::now() > deadline {
            return events;
        }
        // Comes back when something happens.
        (_, since) = office.lawyer.sync(&office.room, &since).await.unwrap();
    }
}

#[tokio::test]
async fn a_chatter_message_that_is_edited_and_deleted_in_odoo_is_edited_and_deleted_in_its_room() {
    let office = open_office().await;
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    office.admin.write("legal.case", case, json!({"matrix_mirror_chatter": true})).await.unwrap();
    let comment =
        json!({"body": "The hering is on Friday", "message_type": "comment", "subtype_xmlid": "mail.mt_comment"});
    office.admin.execute_kw("legal.case", "message_post", json!([[case]]), comment).await.unwrap();
    let find = json!([["model", "=", "legal.case"], ["res_id", "=", case], ["body", "like", "hering"]]);
    let found = office.admin.search_read("mail.message", find, &["id"], "id").await.unwrap();
    let message = found[0]["id"].as_i64().unwrap();
    let is_told = |events: &[Event]| events.iter().any(|event| event.body().contains("hering"));
    let original = until(&office, is_told).await.pop().expect("the room has events");
    assert!(original.body().ends_with(": The hering is on Friday"), "{original:?}");

    office.admin.write("mail.message", message, json!({"body": "The hearing is on Friday"})).await.unwrap();

    let edit = until(&office, |events| events.iter().any(|event| event.content["m.new_content"].is_object())).await;
    let edit = edit.last().expect("the room has events");
    let relation = json!({"rel_type": "m.replace", "event_id": original.event_id});
    assert_eq!(edit.content["m.relates_to"], relation, "{}", office.worker.process().tail());
    let new = edit.content["m.new_content"]["body"].as_str().unwrap();
    assert!(new.ends_with(": The hearing is on Friday"), "{new}");

    office.admin.execute_kw("mail.message", "unlink", json!([[message]]), json!({})).await.unwrap();

    let is_text = |event: &&Event| event.body().contains("Friday");
    let left = until(&office, |events| !events.iter().any(|event| is_text(&event))).await;
    assert_eq!(left.iter().filter(is_text).count(), 0, "{}", office.worker.process().tail());
    let redactions = left.iter().filter(|event| event.kind == "m.room.redaction").count();
    assert_eq!(redactions, 2, "of the message and of its edit: {left:?}");
    // Case created, message, edit, two redactions.
    let logs = story::logged(&office, 5, Duration::from_secs(30)).await.unwrap();
    assert!(logs.iter().all(|row| row["status"] == "ok"), "{logs:?}");
}

/// The answer to the first message was lost, so it is in the room and in the outbox. Two people press the button while
/// others go on working.
#[tokio::test]
async fn what_waits_at_a_backend_that_was_replaced_moves_on_once_and_in_order() {
    let office = open_office().await;
    let successor = office.synapse.register("successor", "let me in", false).await.unwrap();
    let caretaker = office.synapse.register("caretaker", "let me in", true).await.unwrap();
    office.synapse.exempt(&caretaker, &successor).await.unwrap();
    office.lawyer.invite(&office.room, &successor).await.unwrap();
    successor.join(&office.room).await.unwrap();
    let new = json!({
        "name": "Successor",
        "homeserver_url": office.synapse.url(),
        "personal_access_token": successor.token(),
        "company_id": false,
        "is_active": false,
    });
    let new = office.admin.create("matrix.backend", new).await.unwrap();
    let database = office.site.database().connect().await.unwrap();
    let long_ago = "UPDATE matrix_backend SET configured_at = configured_at - interval '1 hour'";
    database.execute(long_ago, &[]).await.unwrap();
    let case = office.open_case("Doe against Acme", "Jane Doe", &office.room).await.unwrap();
    let created = story::arrived(&office, &office.room, 1, Duration::from_secs(60)).await.unwrap().remove(0);
    story::logged(&office, 1, Duration::from_secs(30)).await.unwrap();
    office.admin.write("matrix.backend", office.backend, json!({"is_active": false})).await.unwrap();
    let (backend, record) = (i32::try_from(office.backend).unwrap(), i32::try_from(case).unwrap());
    let insert = "INSERT INTO matrix_outbox (backend_id, room_id, event_type, content, txn_id, res_model, res_id) \
                  VALUES ($1, $2, 'manual', $3, $4, 'legal.case', $5)";
    let lost = created.content["org.odoo.outbox"].as_str().unwrap();
    database.execute(insert, &[&backend, &office.room, &created.content, &lost, &record]).await.unwrap();
    let mut texts = vec![created.body().to_owned()];
    for number in 1..=10 {
        texts.push(format!("Waiting {number}"));
        let txn = format!("waiting-{number}");
        let content = json!({"msgtype": "m.text", "body": texts.last(), "org.odoo.outbox": txn});
        database.execute(insert, &[&backend, &office.room, &content, &txn, &record]).await.unwrap();
    }

    office.admin.write("matrix.backend", new, json!({"is_active": true})).await.unwrap();
    let press = || office.admin.press("matrix.backend", office.backend, "action_move_waiting");
    let work = async {
        for number in 1..=5 {
            office.admin.write("legal.case", case, json!({"matrix_message": format!("New {number}")})).await.unwrap();
            office.admin.press("legal.case", case, "action_matrix_send_message").await.unwrap();
        }
    };
    let (one, other, ()) = tokio::join!(press(), press(), work);

    let said = [one, other].map(|answer| answer.map_or_else(|error| format!("{error:#}"), |said| said.to_string()));
    assert!(said.iter().any(|said| said.contains("11 moved")), "{said:?}");
    assert!(
        said.iter().any(|said| said.contains("No messages wait") || said.contains("sending to these rooms")),
        "{said:?}"
    );
    let messages = story::arrived(&office, &office.room, 16, Duration::from_secs(90)).await.unwrap();
    let log = office.worker.process().tail();
    let (later, moved): (Vec<_>, Vec<_>) = bodies(&messages).into_iter().partition(|body| body.starts_with("New"));
    assert_eq!(moved, texts, "{log}");
    assert_eq!(later, ["New 1", "New 2", "New 3", "New 4", "New 5"], "{log}");
    let settled =
        "SELECT count(*) FILTER (WHERE status = 'ok'), count(*) FILTER (WHERE status <> 'ok') FROM matrix_log";
    let until_empty = "SELECT count(*) FROM matrix_outbox";
    let deadline = Instant::now() + Duration::from_secs(30);
    while database.query_one(until_empty, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(Instant::now() < deadline, "{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let row = database.query_one(settled, &[]).await.unwrap();
    // The first message has a row of each account.
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (17, 0));
}

/// The endpoint that makes a room knows no transaction id.
#[tokio::test]
async fn clicking_create_room_again_and_again_creates_one_room() {
    let office = open_office().await;
    let client = office.admin.create("res.partner", json!({"name": "Jane Doe"})).await.unwrap();
    let case = json!({"name": "Doe against Acme", "partner_id": client});
    let rooms = || async { office.bot.rooms().await.unwrap().len() };
    let linked = |case: i64| {
        let find = json!([["id", "=", case]]);
        async { office.admin.search_read("legal.case", find, &["matrix_room_id"], "id").await.unwrap().remove(0) }
    };
    let before = rooms().await;

    let asked = office.admin.create("legal.case", case.clone()).await.unwrap();
    let press = || office.admin.press("legal.case", asked, "action_matrix_create_room");
    let clicks = tokio::join!(press(), press(), press(), press());

    for click in [clicks.0, clicks.1, clicks.2, clicks.3] {
        click.unwrap();
    }
    assert_eq!(rooms().await, before + 1);
    assert!(linked(asked).await["matrix_room_id"].is_string());

    // The room is there, and then the transaction fails.
    let failed = office.admin.create("legal.case", case).await.unwrap();
    let database = office.site.database().connect().await.unwrap();
    let refuse = "ALTER TABLE legal_case ADD CONSTRAINT refuse CHECK (matrix_room_id IS NULL) NOT VALID";
    database.batch_execute(refuse).await.unwrap();
    office.admin.press("legal.case", failed, "action_matrix_create_room").await.expect_err("the link is refused");
    assert_eq!(rooms().await, before + 2);
    database.batch_execute("ALTER TABLE legal_case DROP CONSTRAINT refuse").await.unwrap();

    office.admin.press("legal.case", failed, "action_matrix_create_room").await.unwrap();

    assert_eq!(rooms().await, before + 2);
    assert!(linked(failed).await["matrix_room_id"].is_string());
}

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

/// Not asserted: it is the homeserver's time for the most part.
#[tokio::test]
async fn the_time_from_commit_to_arrival_is_measured() {
    const EVENTS: usize = 40;
    let office = open_office().await;
    let caretaker = office.synapse.register("caretaker", "let me in", true).await.unwrap();
    office.synapse.exempt(&caretaker, &office.bot).await.unwrap();
    let backend = i32::try_from(office.backend).unwrap();
    let database = office.site.database().connect().await.unwrap();
    let insert = "INSERT INTO matrix_outbox (backend_id, room_id, event_type, content, txn_id) VALUES ($1, $2, 'manual', $3, $4)";
    let (_, mut since) = office.lawyer.sync(&office.room, "").await.unwrap();
    let mut times = Vec::new();

    for number in 0..EVENTS {
        let content = json!({"msgtype": "m.text", "body": format!("Event {number}")});
        let began = Instant::now();
        database.execute(insert, &[&backend, &office.room, &content, &format!("timed-{number}")]).await.unwrap();
        loop {
            let (events, next) = office.lawyer.sync(&office.room, &since).await.unwrap();
            since = next;
            if events.iter().any(|event| event.content == content) {
                break;
            }
        }
        times.push(began.elapsed());
    }

    times.sort();
    let (median, slow) = (times[EVENTS / 2], times[EVENTS * 95 / 100]);
    let figure = format!("commit → seen in Synapse: median {median:.1?}, 95 % {slow:.1?} (of {EVENTS} single events)");
    // Bypasses the capture of the test harness: the figure is for people to read.
    writeln!(std::io::stderr(), "{figure}").unwrap();
}
