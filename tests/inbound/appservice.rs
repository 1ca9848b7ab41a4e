//! The homeserver sends what people write, as to an application service.

use std::time::{Duration, Instant};

use serde_json::json;
use stack::{files, office::send_to_odoo, relay::Relay};

use crate::common::{bodies, notes, open_office, record_times, text, timed, until};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_written_in_the_room_appears_in_the_chatter_once_and_soon() {
    let (mut office, case) = open_office().await;
    let relay = Relay::start(office.server.url()).await.unwrap();
    send_to_odoo(&mut office.synapse, &office.admin, office.backend, &relay.url()).await.unwrap();
    let caretaker = office.synapse.register("caretaker", "let me in", true).await.unwrap();
    office.synapse.exempt(&caretaker, &office.lawyer).await.unwrap();
    let lawyer = json!([["login", "=", "admin"]]);
    let admin = office.admin.search_read("res.users", lawyer, &["partner_id"], "id").await.unwrap();
    let user = admin[0]["id"].as_i64().unwrap();
    office.admin.write("res.users", user, json!({"matrix_user_id": office.lawyer.id()})).await.unwrap();
    let (count, mut times) = (timed(), Vec::new());

    let mut last = String::new();
    for number in 1..=count {
        let began = Instant::now();
        last = office.lawyer.say(&office.room, &text(&format!("Message {number}"))).await.unwrap();
        let seen = notes(&office.admin, case, number, SOON).await;
        assert_eq!(seen.len(), number, "{}\n{}", office.server.process().tail(), office.synapse.process().tail());
        times.push(began.elapsed());
    }
    let answer =
        json!({"msgtype": "m.text", "body": "An answer", "m.relates_to": {"m.in_reply_to": {"event_id": last}}});
    office.lawyer.say(&office.room, &answer).await.unwrap();
    let edit = json!({
        "msgtype": "m.text", "body": "* Changed", "m.new_content": text("Changed"),
        "m.relates_to": {"rel_type": "m.replace", "event_id": last},
    });
    office.lawyer.say(&office.room, &edit).await.unwrap();
    // What Odoo itself sends comes back the same way, and is ignored.
    office.admin.press("legal.case", case, "action_matrix_send_test").await.unwrap();
    office.lawyer.say(&office.room, &text("Last")).await.unwrap();

    let seen = notes(&office.admin, case, count + 2, SOON).await;

    let texts = bodies(&seen);
    assert_eq!(seen.len(), count + 2, "{texts:?}");
    assert!(texts[0].contains("Message 1") && texts[count + 1].contains("Last"), "{texts:?}");
    assert!(texts[count - 1].contains("Changed"), "{texts:?}");
    assert_eq!(seen[count]["parent_id"][0], seen[count - 1]["id"]);
    assert!(seen.iter().all(|note| note["author_id"] == admin[0]["partner_id"]), "{seen:?}");
    record_times(&office, "the homeserver sends it", times);

    // Odoo has accepted it, and the answer is lost: the homeserver sends it again, and everything after it waits.
    relay.lose("/transactions/");
    for body in ["Sent again", "After it"] {
        office.lawyer.say(&office.room, &text(body)).await.unwrap();
    }
    let seen = notes(&office.admin, case, count + 4, SOON).await;
    let texts = bodies(&seen);
    assert_eq!((relay.left(), seen.len()), (0, count + 4), "{texts:?}");
    assert!(texts[count + 2].contains("Sent again") && texts[count + 3].contains("After it"), "{texts:?}");

    let two = files::two();
    files::send(&office, &two).await.unwrap();
    until(&office, "SELECT count(*) = 2 FROM matrix_inbound WHERE file_state = 'waiting'").await;
    files::check_attached(&office, case, &two).await.unwrap();

    // What is written while the account is not in the room is not for it.
    office.lawyer.kick(&office.room, &office.bot).await.unwrap();
    office.lawyer.say(&office.room, &text("Between us")).await.unwrap();
    office.lawyer.invite(&office.room, &office.bot).await.unwrap();
    office.admin.press("legal.case", case, "action_matrix_check_room").await.unwrap();
    office.lawyer.say(&office.room, &text("Back again")).await.unwrap();
    let seen = notes(&office.admin, case, count + 7, SOON).await;
    let texts = bodies(&seen);
    assert_eq!(seen.len(), count + 7, "{texts:?}");
    assert!(texts[count + 6].contains("Back again"), "{texts:?}");
}
